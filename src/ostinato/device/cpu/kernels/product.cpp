#include "ostinato/device/cpu/kernels/product.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "ostinato/base/dtype.h"
#include "ostinato/device/cpu/kernels/convert.h"
#include "ostinato/device/cpu/kernels/index.h"
#include "ostinato/device/cpu/kernels/loops.h"

namespace ostinato::cpu {

Offsets Offsets::over(const std::vector<int64_t>& sizes, const std::vector<int64_t>& strides) {
  std::vector<int64_t> all{0};
  for (size_t d = 0; d < sizes.size(); ++d) {
    std::vector<int64_t> finer;
    finer.reserve(all.size() * static_cast<size_t>(sizes[d]));
    for (int64_t begin : all) {
      for (int64_t i = 0; i < sizes[d]; ++i) finer.push_back(begin + i * strides[d]);
    }
    all = std::move(finer);
  }
  const int64_t stride = all.size() > 1 ? all[1] : 0;
  bool even = true;
  for (size_t i = 0; i < all.size(); ++i) even = even && all[i] == static_cast<int64_t>(i) * stride;
  Offsets result(stride);
  if (!even) result.table_ = std::move(all);
  return result;
}

Grid cut_grid(int64_t row_units, int64_t column_units, int most) {
  Grid best;
  int64_t least = std::numeric_limits<int64_t>::max();
  for (int columns = most; columns >= 1; --columns) {  // of equals, the one with narrow columns
    const int rows = most / columns;
    if (columns > column_units || rows > row_units) continue;
    const int64_t load =
        part_of(row_units, {0, rows}).end * part_of(column_units, {0, columns}).end;
    if (load >= least) continue;
    least = load;
    best = {rows, columns};
  }
  return best;
}

namespace {

// What a core does, roughly: good enough to choose how many of them a product pays for.
constexpr double kFlopsPerMicrosecond = 80e3, kBytesPerMicrosecond = 16e3;

constexpr int64_t kMostDotRows = 4;

class Product final : public Kernel {
 public:
  Product(const device::Request& request, ProductSpec spec);

  size_t scratch_bytes() const override {
    return static_cast<size_t>(worker_bytes_) * static_cast<size_t>(workers_);
  }
  void run(const Args& args, Worker worker) const override;

 private:
  enum class Right { packed, packed_in_run, direct, dot };

  // What one worker does with one matrix of the batch.
  struct Job {
    const Args& args;
    int64_t matrix;
    Range rows, panels;
    char *staged, *panel;  // scratch
  };
  // Left rows that lie as tiles want them.
  struct Left {
    const void* data;
    int64_t stride;
  };

  int64_t element() const { return static_cast<int64_t>(size_of(spec_.dtype)); }
  int64_t staged_stride() const {
    return kernel_.steps(spec_.inner) * kernel_.depth * static_cast<int64_t>(size_of(kernel_.a));
  }
  void choose_left();
  void choose_right(const device::Request& request);
  void choose_workers(int threads);

  void run_groups(const Args& args, Range panels, char* scratch) const;
  void clear_rows(const Args& args, Range rows, Range panels) const;
  void multiply(const Job& job) const;
  void multiply_rows(const Job& job, Range rows) const;
  Left left_rows(const Job& job, Range rows) const;
  void stage_row(const char* from, char* to) const;
  void set_right(const Job& job, int64_t panel, Tile& tile) const;
  void finish(const Job& job, const float* c, Range rows, int64_t column, int64_t columns) const;
  Addend addend(const ProductSpec::Operand& operand, const Job& job, int64_t row,
                int64_t column) const;

  const ir::Node* node_;
  ProductSpec spec_;
  TileKernel kernel_;
  EpilogueFunction epilogue_;
  bool addends_even_ = true;
  bool staged_ = false;        // left rows are copied before they are multiplied
  Convert convert_ = nullptr;  // of the copy, where the elements lie side by side
  Right right_ = Right::packed;
  TileFunction multiply_;
  Convert widen_ = nullptr;  // of a panel to float32, where that is faster than in each tile
  std::shared_ptr<const void> panels_;
  int64_t row_block_ = 0;  // rows that are multiplied by all panels before the next
  int64_t row_units_ = 0;  // tiles high, over the whole batch
  Grid grid_;
  int64_t staged_bytes_ = 0, panel_bytes_ = 0, worker_bytes_ = 0;
};

Product::Product(const device::Request& request, ProductSpec spec)
    : node_(request.node),
      spec_(std::move(spec)),
      kernel_(tile_kernel(spec_.dtype)),
      epilogue_(epilogue_function(spec_.dtype, spec_.activation)) {
  for (const auto* operand : {&spec_.bias, &spec_.residual}) {
    if (*operand) addends_even_ = addends_even_ && (*operand)->rows.even();
  }
  choose_right(request);
  choose_left();
  choose_workers(request.threads);
  staged_bytes_ = staged_ ? round_up(row_block_ * staged_stride(), 64) : 0;
  const bool packs = right_ == Right::packed_in_run || right_ == Right::direct;
  panel_bytes_ = packs ? panels_bytes(kernel_, spec_.inner, kPanelColumns) : 0;
  const int64_t wide_bytes = spec_.inner * kPanelColumns * static_cast<int64_t>(sizeof(float));
  worker_bytes_ = staged_bytes_ + panel_bytes_ + (widen_ != nullptr ? wide_bytes : 0);
}

void Product::choose_right(const device::Request& request) {
  constexpr int64_t kNearEnough = 256 << 10;  // for strided rows to stay in the caches
  const ProductSpec::Operand& b = spec_.b;
  multiply_ = kernel_.multiply;
  if (kernel_.b == DType::float16 && spec_.rows >= 2 * kTileRows) {
    multiply_ = tile_kernel(DType::float32).multiply;
    widen_ = find_convert(DType::float16, DType::float32);
  }
  const void* constant = request.constants[b.index];
  if (constant != nullptr && spec_.batch == 1 && spec_.columns > 0 && spec_.inner > 0) {
    panels_ = pack_constant(*request.packed, kernel_, {constant, b.rows.stride(), b.column_stride},
                            spec_.inner, spec_.columns, request.threads);
    return;
  }
  const bool near = spec_.rows <= kTileRows || b.rows.stride() * spec_.inner <= kNearEnough;
  if (b.column_stride == element() && kernel_.depth == 1 && near && widen_ == nullptr) {
    right_ = Right::direct;
  } else if (b.rows.stride() == element() && spec_.rows <= kMostDotRows) {
    right_ = Right::dot;
    multiply_ = kernel_.dot;
  } else {
    right_ = Right::packed_in_run;
  }
}

void Product::choose_left() {
  const bool adjacent = spec_.a.column_stride == element() || spec_.inner == 1;
  const bool whole = spec_.inner % kernel_.depth == 0 || right_ == Right::dot;
  staged_ = !adjacent || !whole || !spec_.a.rows.even() || kernel_.a != spec_.dtype;
  if (adjacent && staged_) convert_ = find_convert(spec_.dtype, kernel_.a);
  // As many rows as stay in the L2 cache beside a panel; all of them where that costs nothing, or
  // where each block would pack all panels again.
  constexpr int64_t kStaged = 512 << 10, kLeast = 16 * kTileRows;
  row_block_ = spec_.rows;
  if (staged_) {
    const int64_t fit = kStaged / std::max<int64_t>(1, staged_stride());
    row_block_ = std::min(row_block_, std::max(kLeast, fit / kTileRows * kTileRows));
  } else if (right_ == Right::packed) {
    row_block_ = std::min(row_block_, 2 * kLeast);
  }
}

void Product::choose_workers(int threads) {
  const double products = static_cast<double>(spec_.ends ? 1 : spec_.batch) *
                          static_cast<double>(spec_.columns) * static_cast<double>(spec_.inner);
  const double flops = 2 * products * static_cast<double>(spec_.rows);
  const double microseconds =
      std::max(flops / kFlopsPerMicrosecond,
               products * static_cast<double>(element()) / kBytesPerMicrosecond);
  const int most = workers_for(microseconds, threads);
  const int64_t units = (spec_.rows + kTileRows - 1) / kTileRows;
  row_units_ = spec_.ends ? std::min<int64_t>(units, 1) : spec_.batch * units;
  grid_ = cut_grid(row_units_, panel_count(spec_.columns), most);
  workers_ = grid_.count();
}

void Product::run(const Args& args, Worker worker) const {
  if (spec_.columns == 0 || row_units_ == 0) return;
  char* scratch = static_cast<char*>(args.scratch) + worker.index * worker_bytes_;
  const Range panels = part_of(panel_count(spec_.columns), grid_.column(worker));
  if (spec_.ends) return run_groups(args, panels, scratch);
  const Range units = part_of(row_units_, grid_.row(worker));
  const int64_t units_each = row_units_ / spec_.batch;
  for (int64_t unit = units.begin; unit < units.end;) {
    const int64_t matrix = unit / units_each, first = unit % units_each;
    const int64_t last = std::min(units_each, first + units.end - unit);
    const Range rows{first * kTileRows, std::min(last * kTileRows, spec_.rows)};
    multiply({args, matrix, rows, panels, scratch, scratch + staged_bytes_});
    unit += last - first;
  }
}

// Which rows a matrix has is known only here, so workers share columns, not rows.
void Product::run_groups(const Args& args, Range panels, char* scratch) const {
  const char* ends = static_cast<const char*>(args.inputs[*spec_.ends]);
  const auto end_bytes = static_cast<int64_t>(size_of(spec_.ends_dtype));
  const IndexReader index(spec_.ends_dtype);
  int64_t start = 0;
  for (int64_t matrix = 0; matrix < spec_.batch; ++matrix) {
    const int64_t end = index.read(ends + matrix * end_bytes);
    if (end < start || end > spec_.rows) {
      args.fault->store(node_, std::memory_order_relaxed);
      break;
    }
    multiply({args, matrix, {start, end}, panels, scratch, scratch + staged_bytes_});
    start = end;
  }
  clear_rows(args, {start, spec_.rows}, panels);
}

void Product::clear_rows(const Args& args, Range rows, Range panels) const {
  const int64_t begin = panels.begin * kPanelColumns;
  const int64_t end = std::min(panels.end * kPanelColumns, spec_.columns);
  char* y = static_cast<char*>(args.outputs[0]);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    std::memset(y + (row * spec_.columns + begin) * element(), 0,
                static_cast<size_t>((end - begin) * element()));
  }
}

void Product::multiply(const Job& job) const {
  for (int64_t row = job.rows.begin; row < job.rows.end; row += row_block_) {
    multiply_rows(job, {row, std::min(row + row_block_, job.rows.end)});
  }
}

void Product::multiply_rows(const Job& job, Range rows) const {
  const Left left = left_rows(job, rows);
  Tile tile{};
  tile.a = left.data;
  tile.a_stride = left.stride;
  tile.rows = rows.end - rows.begin;
  for (int64_t panel = job.panels.begin; panel < job.panels.end; ++panel) {
    const int64_t column = panel * kPanelColumns;
    const int64_t columns = std::min(kPanelColumns, spec_.columns - column);
    tile.columns = columns;
    set_right(job, panel, tile);
    for_each_tile(multiply_, tile, [&](const float* c, int64_t row, int64_t count) {
      row += rows.begin;
      finish(job, c, {row, row + count}, column, columns);
    });
  }
}

Product::Left Product::left_rows(const Job& job, Range rows) const {
  const char* a = static_cast<const char*>(job.args.inputs[spec_.a.index]);
  a += spec_.a.batch[job.matrix];
  if (!staged_) return {a + spec_.a.rows[rows.begin], spec_.a.rows.stride()};
  const int64_t stride = staged_stride();
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    stage_row(a + spec_.a.rows[row], job.staged + (row - rows.begin) * stride);
  }
  return {job.staged, stride};
}

void Product::stage_row(const char* from, char* to) const {
  if (convert_ != nullptr) {
    convert_(from, to, spec_.inner);
  } else if (spec_.dtype == DType::float16) {
    float* row = reinterpret_cast<float*>(to);
    for (int64_t i = 0; i < spec_.inner; ++i) {
      row[i] = to_float(*reinterpret_cast<const float16*>(from + i * spec_.a.column_stride));
    }
  } else {
    gather(from, spec_.a.column_stride, static_cast<size_t>(element()), to, spec_.inner);
  }
  const int64_t bytes = spec_.inner * static_cast<int64_t>(size_of(kernel_.a));
  const int64_t rest = staged_stride() - bytes;
  if (rest > 0) std::memset(to + bytes, 0, static_cast<size_t>(rest));
}

// Points the tile at a panel. Expects `columns` to be the panel's true width, and rounds it up.
void Product::set_right(const Job& job, int64_t panel, Tile& tile) const {
  const int64_t column = panel * kPanelColumns, columns = tile.columns;
  const char* b = static_cast<const char*>(job.args.inputs[spec_.b.index]) +
                  spec_.b.batch[job.matrix] + column * spec_.b.column_stride;
  tile.steps = kernel_.steps(spec_.inner);
  if (right_ == Right::dot) {
    tile.steps = spec_.inner;
    tile.b = b;
    tile.b_stride = spec_.b.column_stride;
    return;
  }
  tile.columns = round_up(columns, kPanelGroup);
  tile.b_stride = tile.columns * unit_bytes(kernel_);
  if (right_ == Right::packed) {
    tile.b = static_cast<const char*>(panels_.get()) + panels_bytes(kernel_, spec_.inner, column);
  } else if (right_ == Right::direct && tile.columns == columns) {
    tile.b = b;
    tile.b_stride = spec_.b.rows.stride();
  } else {
    pack_panel(kernel_, {b, spec_.b.rows.stride(), spec_.b.column_stride}, spec_.inner, columns,
               job.panel);
    tile.b = job.panel;
  }
  if (widen_ != nullptr) {
    void* wide = job.panel + panel_bytes_;
    widen_(tile.b, wide, spec_.inner * tile.columns);
    tile.b = wide;
    tile.b_stride = tile.columns * static_cast<int64_t>(sizeof(float));
  }
}

void Product::finish(const Job& job, const float* c, Range rows, int64_t column,
                     int64_t columns) const {
  const int64_t stride = spec_.columns * element();
  char* y = static_cast<char*>(job.args.outputs[0]);
  const int64_t first = spec_.ends ? 0 : job.matrix * spec_.rows;
  y += (first + rows.begin) * stride + column * element();
  Epilogue epilogue{c, rows.end - rows.begin, columns, spec_.alpha, spec_.beta, {}, {}, y, stride};
  if (!addends_even_) epilogue.rows = 1;
  for (int64_t row = rows.begin; row < rows.end; row += epilogue.rows) {
    if (spec_.bias) epilogue.bias = addend(*spec_.bias, job, row, column);
    if (spec_.residual) epilogue.residual = addend(*spec_.residual, job, row, column);
    epilogue_(epilogue);
    epilogue.c += epilogue.rows * kPanelColumns;
    epilogue.y = static_cast<char*>(epilogue.y) + epilogue.rows * stride;
  }
}

Addend Product::addend(const ProductSpec::Operand& operand, const Job& job, int64_t row,
                       int64_t column) const {
  const char* data = static_cast<const char*>(job.args.inputs[operand.index]);
  data += operand.batch[job.matrix] + operand.rows[row] + column * operand.column_stride;
  return {data, operand.rows.stride(), operand.column_stride};
}

}  // namespace

std::unique_ptr<Kernel> make_product(const device::Request& request, ProductSpec spec) {
  return std::make_unique<Product>(request, std::move(spec));
}

}  // namespace ostinato::cpu
