#include "ostinato/device/cpu/kernels/assembly.h"
#include "ostinato/device/cpu/kernels/index.h"
#include "ostinato/device/cpu/kernels/kernels.h"
#include "ostinato/device/cpu/kernels/norm_row.h"
#include "ostinato/device/cpu/kernels/panels.h"
#include "ostinato/device/cpu/kernels/rotary_row.h"

namespace ostinato::cpu {

namespace {

/// Which operands of a request are what; None where they are not there.
struct PairOperands {
  size_t query, key, cos, sin, query_weight, key_weight;
};

/// Where one of the two is read and written.
struct Turned {
  Loops loops;  ///< over the rows of x, the cosines, the sines and the output
  size_t x, weight;
  bool weighted;
  size_t output;
};

/// Normalises and turns the rows of queries and keys.
class RotaryPair {
 public:
  static std::optional<RotaryPair> make(const device::Request& request,
                                        const PairOperands& operands, size_t query_output,
                                        size_t key_output);

  size_t row_bytes() const { return static_cast<size_t>(row_bytes_); }

  /// @param key_offset bytes to where the keys' first row goes
  /// @param normed memory for a row, if there is a norm
  void run(const Args& args, Worker worker, int64_t key_offset, void* normed) const {
    const int64_t queries = turned_[0].loops.count();
    const Range rows = part_of(queries + turned_[1].loops.count(), worker);
    run_rows(turned_[0], args, {rows.begin, std::min(rows.end, queries)}, 0, normed);
    run_rows(turned_[1], args, {std::max<int64_t>(0, rows.begin - queries), rows.end - queries},
             key_offset, normed);
  }

 private:
  void run_rows(const Turned& turned, const Args& args, Range rows, int64_t offset,
                void* normed) const {
    if (rows.begin >= rows.end) return;
    NormRow norm{};
    norm.count = count_;
    norm.eps = eps_;
    norm.y = normed;
    if (turned.weighted) norm.weight = args.inputs[turned.weight];
    const void *x = args.inputs[turned.x], *cos = args.inputs[cos_], *sin = args.inputs[sin_];
    void* y = at(args.outputs[turned.output], offset);
    ElementCursor cursor(turned.loops, rows.begin);
    for (int64_t i = rows.begin; i < rows.end; ++i, cursor.next()) {
      const void* row = at(x, cursor.offset(0));
      if (norm_ != nullptr) {
        norm.x = row;
        norm_(norm);
        row = normed;
      }
      turn_(row, at(cos, cursor.offset(1)), at(sin, cursor.offset(2)), at(y, cursor.offset(3)),
            rotated_, count_);
    }
  }

  std::array<Turned, 2> turned_;
  size_t cos_ = 0, sin_ = 0;
  NormFunction norm_ = nullptr;
  RotaryRow turn_ = nullptr;
  float eps_ = 0;
  int64_t rotated_ = 0, count_ = 0, row_bytes_ = 0;
};

bool is_dense(const device::Request& request, size_t operand) {
  return !request.inputs[operand] || request.inputs[operand]->layout.is_contiguous();
}

std::optional<Turned> turned_of(const device::Request& request, size_t x, size_t weight,
                                const PairOperands& operands, size_t output) {
  std::vector<int64_t> rows = request.inputs[x]->sizes();
  rows.pop_back();
  std::vector<Strides> strides;
  for (const size_t operand : {x, operands.cos, operands.sin}) {
    const device::TensorDesc& desc = *request.inputs[operand];
    if (desc.strides().back() != 1 && desc.sizes().back() > 1) return std::nullopt;
    std::vector<int64_t> sizes = rows;
    sizes.push_back(desc.sizes().back());
    strides.push_back(broadcast_strides(desc, sizes));
    strides.back().pop_back();
  }
  strides.push_back(byte_strides(request.outputs[output]));
  strides.back().pop_back();
  const std::optional<Loops> loops = make_loops(rows, strides);
  if (!loops || !is_dense(request, weight)) return std::nullopt;
  return Turned{*loops, x, weight, request.inputs[weight].has_value(), output};
}

std::optional<RotaryPair> RotaryPair::make(const device::Request& request,
                                           const PairOperands& operands, size_t query_output,
                                           size_t key_output) {
  const auto query =
      turned_of(request, operands.query, operands.query_weight, operands, query_output);
  const auto key = turned_of(request, operands.key, operands.key_weight, operands, key_output);
  if (!query || !key) return std::nullopt;
  const device::TensorDesc& x = *request.inputs[operands.query];
  RotaryPair pair;
  pair.turned_ = {*query, *key};
  pair.cos_ = operands.cos;
  pair.sin_ = operands.sin;
  const DType table = request.inputs[operands.cos]->dtype;
  pair.turn_ = rotary_row(x.dtype, table, x.dtype, request.node->flag("interleaved"));
  if (pair.turn_ == nullptr) return std::nullopt;
  pair.rotated_ = request.inputs[operands.cos]->sizes().back();
  pair.count_ = x.sizes().back();
  if (request.node->has("eps")) {
    pair.row_bytes_ = round_up(pair.count_ * static_cast<int64_t>(size_of(x.dtype)), 64);
    pair.norm_ = norm_function(Norm::rms, x.dtype, x.dtype);
    pair.eps_ = static_cast<float>(request.node->real("eps"));
  }
  return pair;
}

/// What reading, normalising and turning costs, beside what a copy does.
int workers_of(const device::Request& request, size_t query, size_t key) {
  constexpr size_t kCopies = 4;
  const size_t bytes = request.inputs[query]->bytes() + request.inputs[key]->bytes();
  return workers_for_bytes(kCopies * bytes, request.threads);
}

class RotaryPairKernel final : public Kernel {
 public:
  RotaryPairKernel(const device::Request& request, const RotaryPair& pair) : pair_(pair) {
    workers_ = workers_of(request, 0, 1);
  }

  size_t scratch_bytes() const override {
    return static_cast<size_t>(workers_) * pair_.row_bytes();
  }

  void run(const Args& args, Worker worker) const override {
    const auto row = static_cast<int64_t>(pair_.row_bytes());
    pair_.run(args, worker, 0, at(args.scratch, worker.index * row));
  }

 private:
  RotaryPair pair_;
};

class RotaryCacheKernel final : public Kernel {
 public:
  RotaryCacheKernel(const device::Request& request, const RotaryPair& pair, const StridedCopy& copy)
      : node_(request.node),
        pair_(pair),
        copy_(copy),
        position_(request.inputs[5]->dtype),
        last_(request.outputs[0].sizes()[2] - request.inputs[2]->sizes()[2]),
        key_bytes_(byte_strides(request.outputs[0])[2]),
        value_bytes_(byte_strides(request.outputs[1])[2]) {
    workers_ = workers_of(request, 0, 2);
  }

  size_t scratch_bytes() const override {
    return static_cast<size_t>(workers_) * pair_.row_bytes();
  }

  void run(const Args& args, Worker worker) const override {
    const int64_t position = position_.read(args.inputs[5]);
    if (position < 0 || position > last_) {
      args.fault->store(node_, std::memory_order_relaxed);
      return;
    }
    const auto row = static_cast<int64_t>(pair_.row_bytes());
    pair_.run(args, worker, position * key_bytes_, at(args.scratch, worker.index * row));
    copy_.run(args.inputs[4], at(args.outputs[1], position * value_bytes_), worker);
  }

 private:
  const ir::Node* node_;
  RotaryPair pair_;
  StridedCopy copy_;  // of the values
  IndexReader position_;
  int64_t last_, key_bytes_, value_bytes_;
};

std::unique_ptr<Kernel> make_rotary_pair(const device::Request& request) {
  const PairOperands operands{
      .query = 0, .key = 1, .cos = 2, .sin = 3, .query_weight = 4, .key_weight = 5};
  const auto pair = RotaryPair::make(request, operands, 0, 1);
  return pair ? std::make_unique<RotaryPairKernel>(request, *pair) : nullptr;
}

std::unique_ptr<Kernel> make_rotary_cache(const device::Request& request) {
  const PairOperands operands{
      .query = 0, .key = 2, .cos = 6, .sin = 7, .query_weight = 8, .key_weight = 9};
  const device::TensorDesc &value = *request.inputs[4], &cache = request.outputs[1];
  const auto pair = RotaryPair::make(request, operands, 2, 0);
  const auto copy = StridedCopy::make(value.sizes(), {value.dtype, byte_strides(value)},
                                      {cache.dtype, byte_strides(cache)});
  if (!pair || !copy) return nullptr;
  return std::make_unique<RotaryCacheKernel>(request, *pair, *copy);
}

}  // namespace

void add_rotary_pair(KernelTable& table) {
  table.add("rotary_pair", device::Tier::fast, make_rotary_pair);
  table.add("rotary_cache", device::Tier::fast, make_rotary_cache);
}

}  // namespace ostinato::cpu
