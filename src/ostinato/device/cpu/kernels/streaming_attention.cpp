#include "ostinato/device/cpu/kernels/streaming_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "ostinato/base/dtype.h"
#include "ostinato/device/cpu/kernels/attention_rows.h"
#include "ostinato/device/cpu/kernels/convert.h"
#include "ostinato/device/cpu/kernels/panels.h"

namespace ostinato::cpu {

namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

using ReadMask = void (*)(const char* from, int64_t stride, int64_t count, float* bias);

template <typename T>
void read_mask(const char* from, int64_t stride, int64_t count, float* bias) {
  for (int64_t i = 0; i < count; ++i) {
    const T& value = *reinterpret_cast<const T*>(from + i * stride);
    if constexpr (std::is_same_v<T, bool>) {
      bias[i] = value ? 0.0f : kForbidden;
    } else {
      bias[i] = to_float(value);
    }
  }
}

ReadMask find_read_mask(DType dtype) {
  switch (dtype) {
    case DType::boolean: return read_mask<bool>;
    case DType::bfloat16: return read_mask<bfloat16>;
    case DType::float16: return read_mask<float16>;
    default: return read_mask<float>;
  }
}

// Softmax as the keys stream by: the score matrix is only ever there for one tile of query rows and
// one block of keys (Milakov and Gimelshein 2018, Dao et al. 2022). A worker takes the query rows
// of all heads that share a key head, so that keys and values are packed once for all of them. The
// result may overwrite the queries: a unit's rows are read by nothing else, and written at its end.
class Attention final : public Kernel {
 public:
  Attention(const device::Request& request, AttentionSpec spec);

  size_t scratch_bytes() const override {
    return static_cast<size_t>(workspace_.bytes) * static_cast<size_t>(workers_);
  }
  // Units, dealt out in turns: later ones of a head may attend more keys.
  int64_t items(Worker worker) const override {
    return (units_ - worker.index + workers_ - 1) / workers_;
  }
  void run(const Args& args, Worker worker) const override;

 private:
  static constexpr int64_t kKeyBlock = 256;

  // How values are read: as they lie, packed as pairs for products in bfloat16, or widened to
  // padded rows of float32.
  enum class Values { direct, pairs, rows };

  // Offsets into a worker's scratch.
  struct Workspace {
    int64_t query = 0, scores = 0, weights = 0, bias = 0, keys = 0, wide_keys = 0, values = 0,
            sums = 0, states = 0, bytes = 0;
  };
  // Query rows of one key head: row r is query r / group of head r % group among those that share.
  struct Unit {
    const Args& args;
    char* scratch;
    int64_t batch, kv_head, first_query, rows;
    int64_t position;
    Range keys;  // that any of the rows may attend

    template <typename T>
    T* at(int64_t offset) const {
      return reinterpret_cast<T*>(scratch + offset);
    }
    const char* input(size_t index) const { return static_cast<const char*>(args.inputs[index]); }
  };

  int64_t head_of(const Unit& unit, int64_t row) const {
    return unit.kv_head * group_ + row % group_;
  }
  int64_t query_of(const Unit& unit, int64_t row) const { return unit.first_query + row / group_; }
  int64_t tile_rows() const { return few_ ? kFewRows : kernel_.multiply.rows; }
  void choose_blocks(int threads);
  void lay_out_workspace();
  Range keys_of(int64_t query, int64_t position) const;
  void attend(const Unit& unit) const;
  void begin_rows(const Unit& unit) const;
  void pack_keys(const Unit& unit, Range block) const;
  void pack_values(const Unit& unit, Range block) const;
  void widen_values(const Unit& unit, Range block) const;
  void attend_tile(const Unit& unit, Range block, Range rows) const;
  void set_queries(const Unit& unit, Range rows, Tile& tile) const;
  void multiply_keys(const Unit& unit, Range block, Range keys, Range rows) const;
  float soften_row(const Unit& unit, Range block, Range tile, int64_t row, int64_t place) const;
  void add_values(const Unit& unit, Range block, Range keys, Range rows,
                  const float* corrections) const;
  char* weights(const Unit& unit, int64_t row, int64_t key) const;
  void set_values(const Unit& unit, Range block, int64_t key, int64_t column, Tile& tile) const;
  void write(const Unit& unit) const;

  AttentionSpec spec_;
  TileKernel kernel_;
  TileFunction multiply_keys_, multiply_values_;
  AttentionRows rows_;
  Convert to_left_, to_float_;  // queries as tiles take them; keys and values in float32
  ReadMask read_mask_;
  Convert read_sink_;
  bool few_ = false;  // so few rows that keys and values are not worth packing
  Values values_ = Values::rows;
  bool queries_in_place_ = false;
  int64_t group_ = 1;  // query heads that share a key head
  int64_t weight_bytes_ = sizeof(float);
  int64_t query_block_ = 1, query_blocks_ = 1, units_ = 0;
  int64_t left_stride_ = 0, value_columns_ = 0;
  Workspace workspace_;
};

Attention::Attention(const device::Request& request, AttentionSpec spec)
    : spec_(std::move(spec)),
      kernel_(tile_kernel(spec_.dtype)),
      to_left_(find_convert(spec_.dtype, kernel_.a)),
      to_float_(find_convert(spec_.dtype, DType::float32)),
      read_mask_(find_read_mask(spec_.mask_dtype)),
      read_sink_(find_convert(spec_.sinks_dtype, DType::float32)),
      group_(spec_.heads / spec_.kv_heads) {
  choose_blocks(request.threads);
  few_ = query_block_ * group_ <= kFewRows;
  queries_in_place_ = group_ == 1 && kernel_.a == spec_.dtype && spec_.depth % kernel_.depth == 0;
  value_columns_ = round_up(spec_.value_depth, kPanelGroup);
  if (!few_ && spec_.dtype == DType::bfloat16) {
    values_ = Values::pairs;
  } else if (few_ && value_columns_ == spec_.value_depth) {
    values_ = Values::direct;
  }
  const DType weights = values_ == Values::pairs ? DType::bfloat16 : DType::float32;
  weight_bytes_ = static_cast<int64_t>(size_of(weights));
  rows_ = attention_rows(spec_.dtype, weights);
  const TileKernel wide = tile_kernel(DType::float32);
  multiply_keys_ = few_                          ? kernel_.dot
                   : kernel_.b == DType::float16 ? wide.multiply
                                                 : kernel_.multiply;
  multiply_values_ = values_ == Values::pairs    ? kernel_.multiply
                     : values_ == Values::direct ? kernel_.multiply_plain
                                                 : wide.multiply;
  left_stride_ =
      kernel_.steps(spec_.depth) * kernel_.depth * static_cast<int64_t>(size_of(kernel_.a));
  lay_out_workspace();
}

void Attention::choose_blocks(int threads) {
  constexpr double kFlopsPerMicrosecond = 50e3;
  constexpr int64_t kMostRows = 512, kLeastQueries = 48;
  const double flops = 4.0 * static_cast<double>(spec_.batch * spec_.heads) *
                       static_cast<double>(spec_.queries) * static_cast<double>(spec_.keys) *
                       static_cast<double>(spec_.depth);
  const int most = workers_for(flops / kFlopsPerMicrosecond, threads);
  const int64_t pairs = spec_.batch * spec_.kv_heads;
  query_block_ = std::max<int64_t>(1, spec_.queries);
  const auto units = [&] {
    query_blocks_ = (spec_.queries + query_block_ - 1) / query_block_;
    return units_ = pairs * query_blocks_;
  };
  const auto uneven = [&](int64_t count) { return count % most != 0 && count < 4 * most; };
  while (query_block_ * group_ > kMostRows && query_block_ > 1)
    query_block_ = (query_block_ + 1) / 2;
  while (uneven(units()) && query_block_ > kLeastQueries) query_block_ = (query_block_ + 1) / 2;
  workers_ = static_cast<int>(std::clamp<int64_t>(units(), 1, most));
}

void Attention::lay_out_workspace() {
  const int64_t rows = query_block_ * group_;
  const int64_t block = std::min(kKeyBlock, spec_.keys);
  const int64_t panel_keys = few_ ? 0 : round_up(block, kPanelGroup);
  const auto place = [this](int64_t& offset, int64_t bytes) {
    offset = workspace_.bytes;
    workspace_.bytes += round_up(bytes, 64);
  };
  place(workspace_.query, queries_in_place_ ? 0 : tile_rows() * left_stride_);
  place(workspace_.scores, tile_rows() * kKeyBlock * 4);
  place(workspace_.weights, values_ == Values::pairs ? tile_rows() * kKeyBlock * 2 : 0);
  place(workspace_.bias, spec_.mask ? kKeyBlock * 4 : 0);
  place(workspace_.keys, panels_bytes(kernel_, spec_.depth, panel_keys));
  place(workspace_.wide_keys, kernel_.b == DType::float16 ? spec_.depth * panel_keys * 4 : 0);
  place(workspace_.values, values_ == Values::pairs  ? panels_bytes(kernel_, block, value_columns_)
                           : values_ == Values::rows ? block * value_columns_ * 4
                                                     : 0);
  place(workspace_.sums, rows * value_columns_ * 4);
  place(workspace_.states, rows * static_cast<int64_t>(sizeof(SoftmaxState)));
}

Range Attention::keys_of(int64_t query, int64_t position) const {
  if (!spec_.causal) return {0, spec_.keys};
  const int64_t end = std::clamp<int64_t>(query + position + 1, 0, spec_.keys);
  const int64_t begin =
      spec_.window ? std::max<int64_t>(0, query + position + 1 - *spec_.window) : 0;
  return {std::min(begin, end), end};
}

void Attention::run(const Args& args, Worker worker) const {
  int64_t position = spec_.offset;
  if (spec_.position) {
    // Beyond this every key is attended anyway, and nothing overflows.
    const int64_t limit = spec_.keys + spec_.queries;
    const void* given = args.inputs[*spec_.position];
    position = spec_.position_dtype == DType::int32 ? *static_cast<const int32_t*>(given)
                                                    : *static_cast<const int64_t*>(given);
    position = std::clamp(position, -limit, limit + spec_.window.value_or(0));
  }
  char* scratch = static_cast<char*>(args.scratch) + worker.index * workspace_.bytes;
  work_off(args, worker, items(worker), {0, workers_}, [&](int owner, int64_t item) {
    const int64_t i = item * workers_ + owner;
    const int64_t query = i % query_blocks_ * query_block_;
    const int64_t queries = std::min(query_block_, spec_.queries - query);
    const int64_t kv_head = i / query_blocks_ % spec_.kv_heads;
    const Range first = keys_of(query, position), last = keys_of(query + queries - 1, position);
    attend({args,
            scratch,
            i / query_blocks_ / spec_.kv_heads,
            kv_head,
            query,
            queries * group_,
            position,
            {first.begin, last.end}});
  });
}

void Attention::attend(const Unit& unit) const {
  begin_rows(unit);
  for (int64_t key = unit.keys.begin; key < unit.keys.end; key += kKeyBlock) {
    const Range block{key, std::min(key + kKeyBlock, unit.keys.end)};
    if (!few_) pack_keys(unit, block);
    if (values_ == Values::pairs) pack_values(unit, block);
    if (values_ == Values::rows) widen_values(unit, block);
    for (int64_t row = 0, count; row < unit.rows; row += count) {
      count = next_tile_rows(unit.rows - row, tile_rows());
      attend_tile(unit, block, {row, row + count});
    }
  }
  write(unit);
}

// A sink is a logit that each row of its head has seen before any key, and that has no value.
void Attention::begin_rows(const Unit& unit) const {
  float* sums = unit.at<float>(workspace_.sums);
  SoftmaxState* states = unit.at<SoftmaxState>(workspace_.states);
  std::fill(sums, sums + unit.rows * value_columns_, 0.0f);
  std::fill(states, states + unit.rows, SoftmaxState{kForbidden, 0});
  if (!spec_.sinks) return;
  for (int64_t row = 0; row < unit.rows; ++row) {
    const int64_t head = head_of(unit, row);
    read_sink_(unit.input(*spec_.sinks) + head * spec_.sinks_stride, &states[row].max, 1);
    states[row].sum = 1;
  }
}

void Attention::pack_keys(const Unit& unit, Range block) const {
  const char* keys = unit.input(1) + unit.batch * spec_.key[0] + unit.kv_head * spec_.key[1];
  for (int64_t key = block.begin; key < block.end; key += kPanelColumns) {
    const int64_t count = std::min(kPanelColumns, block.end - key);
    char* panel =
        unit.scratch + workspace_.keys + panels_bytes(kernel_, spec_.depth, key - block.begin);
    pack_panel(kernel_, {keys + key * spec_.key[2], spec_.key[3], spec_.key[2]}, spec_.depth, count,
               panel);
    if (kernel_.b != DType::float16) continue;
    to_float_(panel, unit.at<float>(workspace_.wide_keys) + (key - block.begin) * spec_.depth,
              spec_.depth * round_up(count, kPanelGroup));
  }
}

void Attention::widen_values(const Unit& unit, Range block) const {
  const char* values = unit.input(2) + unit.batch * spec_.value[0] + unit.kv_head * spec_.value[1];
  float* to = unit.at<float>(workspace_.values);
  for (int64_t key = block.begin; key < block.end; ++key, to += value_columns_) {
    to_float_(values + key * spec_.value[2], to, spec_.value_depth);
    std::fill(to + spec_.value_depth, to + value_columns_, 0.0f);
  }
}

void Attention::pack_values(const Unit& unit, Range block) const {
  const char* values = unit.input(2) + unit.batch * spec_.value[0] + unit.kv_head * spec_.value[1] +
                       block.begin * spec_.value[2];
  const int64_t keys = block.end - block.begin;
  for (int64_t column = 0; column < spec_.value_depth; column += kPanelColumns) {
    const int64_t count = std::min(kPanelColumns, spec_.value_depth - column);
    pack_panel(kernel_, {values + column * spec_.value[3], spec_.value[2], spec_.value[3]}, keys,
               count, unit.scratch + workspace_.values + panels_bytes(kernel_, keys, column));
  }
}

void Attention::attend_tile(const Unit& unit, Range block, Range rows) const {
  const int64_t first = query_of(unit, rows.begin);
  const int64_t last = query_of(unit, rows.end - 1);
  Range keys{std::max(block.begin, keys_of(first, unit.position).begin),
             std::min(block.end, keys_of(last, unit.position).end)};
  if (keys.begin >= keys.end) return;
  if (values_ == Values::pairs) {
    keys.begin -= (keys.begin - block.begin) % 2;
    keys.end = std::min(keys.end + (keys.end - block.begin) % 2, block.end);
  }
  multiply_keys(unit, block, keys, rows);
  float corrections[kMostTileRows];
  for (int64_t i = 0; i < rows.end - rows.begin; ++i) {
    corrections[i] = soften_row(unit, block, keys, rows.begin + i, i);
  }
  add_values(unit, block, keys, rows, corrections);
}

void Attention::set_queries(const Unit& unit, Range rows, Tile& tile) const {
  const char* queries = unit.input(0) + unit.batch * spec_.query[0];
  if (queries_in_place_) {
    tile.a =
        queries + unit.kv_head * spec_.query[1] + (unit.first_query + rows.begin) * spec_.query[2];
    tile.a_stride = spec_.query[2];
    return;
  }
  char* to = unit.scratch + workspace_.query;
  tile.a = to;
  tile.a_stride = left_stride_;
  const int64_t bytes = spec_.depth * static_cast<int64_t>(size_of(kernel_.a));
  for (int64_t row = rows.begin; row < rows.end; ++row, to += left_stride_) {
    const int64_t head = head_of(unit, row);
    const int64_t query = query_of(unit, row);
    to_left_(queries + head * spec_.query[1] + query * spec_.query[2], to, spec_.depth);
    std::memset(to + bytes, 0, static_cast<size_t>(left_stride_ - bytes));
  }
}

// Scores of a tile, for whole panels around `keys`.
void Attention::multiply_keys(const Unit& unit, Range block, Range keys, Range rows) const {
  Tile tile{};
  set_queries(unit, rows, tile);
  tile.c_stride = kKeyBlock;
  tile.rows = rows.end - rows.begin;
  const int64_t begin = (keys.begin - block.begin) / kPanelColumns * kPanelColumns;
  for (int64_t i = begin; i < keys.end - block.begin; i += kPanelColumns) {
    const int64_t count = std::min(kPanelColumns, block.end - block.begin - i);
    tile.c = unit.at<float>(workspace_.scores) + i;
    tile.columns = round_up(count, kPanelGroup);
    if (few_) {
      tile.columns = count;
      tile.steps = spec_.depth;
      tile.b = unit.input(1) + unit.batch * spec_.key[0] + unit.kv_head * spec_.key[1] +
               (block.begin + i) * spec_.key[2];
      tile.b_stride = spec_.key[2];
    } else if (kernel_.b == DType::float16) {
      tile.steps = spec_.depth;
      tile.b = unit.at<float>(workspace_.wide_keys) + i * spec_.depth;
      tile.b_stride = tile.columns * 4;
    } else {
      tile.steps = kernel_.steps(spec_.depth);
      tile.b = unit.scratch + workspace_.keys + panels_bytes(kernel_, spec_.depth, i);
      tile.b_stride = tile.columns * unit_bytes(kernel_);
    }
    multiply_keys_(tile);
  }
}

// Softens one row's scores; those of the tile's keys that the row may not attend get no weight, nor
// does what a last pair lacks.
// @param place the row's in the tile
float Attention::soften_row(const Unit& unit, Range block, Range tile, int64_t row,
                            int64_t place) const {
  const int64_t query = query_of(unit, row);
  Range keys = keys_of(query, unit.position);
  keys = {std::clamp(keys.begin, tile.begin, tile.end), std::clamp(keys.end, tile.begin, tile.end)};
  const auto at = [&](int64_t key) { return weights(unit, place, key - block.begin); };
  const auto clear = [](char* begin, const char* end) {
    std::memset(begin, 0, static_cast<size_t>(end - begin));
  };
  const bool odd = values_ == Values::pairs && (tile.end - tile.begin) % 2 != 0;
  clear(at(tile.begin), at(keys.begin));
  clear(at(keys.end), at(tile.end + (odd ? 1 : 0)));
  if (keys.begin == keys.end) return 1;
  float* scores = unit.at<float>(workspace_.scores) + place * kKeyBlock + keys.begin - block.begin;
  float* bias = nullptr;
  if (spec_.mask) {
    bias = unit.at<float>(workspace_.bias);
    const Strides& strides = spec_.mask_strides;
    const int64_t head = head_of(unit, row);
    read_mask_(unit.input(*spec_.mask) + unit.batch * strides[0] + head * strides[1] +
                   query * strides[2] + keys.begin * strides[3],
               strides[3], keys.end - keys.begin, bias);
  }
  const int64_t count = keys.end - keys.begin;
  if (spec_.softcap) rows_.cap(scores, count, spec_.scale, *spec_.softcap);
  return rows_.soften(scores, count, spec_.softcap ? 1 : spec_.scale, bias,
                      unit.at<SoftmaxState>(workspace_.states)[row], at(keys.begin));
}

void Attention::add_values(const Unit& unit, Range block, Range keys, Range rows,
                           const float* corrections) const {
  alignas(64) float products[kMostTileRows * kPanelColumns];
  Tile tile{};
  tile.c = products;
  tile.c_stride = kPanelColumns;
  tile.rows = rows.end - rows.begin;
  tile.a = weights(unit, 0, keys.begin - block.begin);
  tile.a_stride = kKeyBlock * weight_bytes_;
  const int64_t count = keys.end - keys.begin;
  tile.steps = values_ == Values::pairs ? kernel_.steps(count) : count;
  for (int64_t column = 0; column < value_columns_; column += kPanelColumns) {
    tile.columns = std::min(kPanelColumns, value_columns_ - column);
    set_values(unit, block, keys.begin, column, tile);
    multiply_values_(tile);
    for (int64_t r = 0; r < tile.rows; ++r) {
      rows_.accumulate(products + r * kPanelColumns, corrections[r],
                       unit.at<float>(workspace_.sums) + (rows.begin + r) * value_columns_ + column,
                       tile.columns);
    }
  }
}

// Of a tile's row and a block's key: the softened scores, in their place where values are float32.
char* Attention::weights(const Unit& unit, int64_t row, int64_t key) const {
  const bool pairs = values_ == Values::pairs;
  return unit.scratch + (pairs ? workspace_.weights : workspace_.scores) +
         (row * kKeyBlock + key) * weight_bytes_;
}

// Points the tile at the values of the keys from `key` on, whose block is given.
void Attention::set_values(const Unit& unit, Range block, int64_t key, int64_t column,
                           Tile& tile) const {
  const int64_t first = key - block.begin;
  if (values_ == Values::pairs) {
    tile.b_stride = tile.columns * unit_bytes(kernel_);
    tile.b = unit.scratch + workspace_.values +
             panels_bytes(kernel_, block.end - block.begin, column) + first / 2 * tile.b_stride;
  } else if (values_ == Values::rows) {
    tile.b_stride = value_columns_ * 4;
    tile.b = unit.at<float>(workspace_.values) + first * value_columns_ + column;
  } else {
    tile.b_stride = spec_.value[2];
    tile.b = unit.input(2) + unit.batch * spec_.value[0] + unit.kv_head * spec_.value[1] +
             key * spec_.value[2] + column * spec_.value[3];
  }
}

void Attention::write(const Unit& unit) const {
  char* result = static_cast<char*>(unit.args.outputs[0]) + unit.batch * spec_.result[0];
  for (int64_t row = 0; row < unit.rows; ++row) {
    const int64_t head = head_of(unit, row);
    const int64_t query = query_of(unit, row);
    const float sum = unit.at<SoftmaxState>(workspace_.states)[row].sum;
    rows_.write(unit.at<float>(workspace_.sums) + row * value_columns_, sum == 0 ? 0 : 1 / sum,
                result + head * spec_.result[1] + query * spec_.result[2], spec_.value_depth);
  }
}

}  // namespace

std::unique_ptr<Kernel> make_streaming_attention(const device::Request& request,
                                                 AttentionSpec spec) {
  return std::make_unique<Attention>(request, std::move(spec));
}

}  // namespace ostinato::cpu
