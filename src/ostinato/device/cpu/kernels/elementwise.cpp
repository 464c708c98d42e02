#include "ostinato/device/cpu/kernels/elementwise.h"

#include <algorithm>

#include "ostinato/base/dtype.h"
#include "ostinato/device/cpu/kernels/convert.h"
#include "ostinato/device/cpu/kernels/loops.h"
#include "ostinato/ops/infer.h"

namespace ostinato::cpu {

namespace {

constexpr size_t kMaxInputs = Elementwise::kMaxInputs;
constexpr int64_t kChunk = 256;  // elements that are staged at a time
constexpr int64_t kGrain = 64;   // elements: no two workers write one cache line

// How an input reaches the row function.
struct Source {
  size_t operand = 0;
  size_t element_size = 4;
  int64_t stride = 0;  // bytes, along the innermost dim
  bool staged = false;
  Convert round = nullptr;    // before `convert`: to the dtype that operands are rounded to
  Convert convert = nullptr;  // when staged and of another dtype
};

class ElementwiseKernel final : public RowKernel {
 public:
  ElementwiseKernel(const device::Request& request, const Elementwise& spec, const Loops& loops)
      : node_(request.node),
        loops_(loops),
        params_(spec.params),
        total_(loops.count()),
        inputs_(spec.operands.size()),
        divides_(spec.divides) {
    size_t bytes = request.outputs[0].bytes();
    const Loops::Offsets& inner = loops_.inner_strides();
    size_t scalars = 0, scalar = 0;
    for (size_t k = 0; k < inputs_; ++k) {
      const device::TensorDesc& desc = *request.inputs[spec.operands[k]];
      bytes += desc.bytes();
      Source& source = sources_[k];
      source = {spec.operands[k], size_of(desc.dtype), inner[k]};
      const DType rounded = spec.rounded.value_or(desc.dtype);
      if (desc.dtype != rounded && rounded != spec.inputs[k]) {
        source.round = find_convert(desc.dtype, rounded);
        source.convert = find_convert(rounded, spec.inputs[k]);
      } else if (desc.dtype != spec.inputs[k]) {
        source.convert = find_convert(desc.dtype, spec.inputs[k]);
      }
      if (source.stride == 0) scalar = k, ++scalars;
      source.staged =
          source.convert != nullptr || source.stride != static_cast<int64_t>(source.element_size);
    }
    Broadcast broadcast = Broadcast::none;
    if (scalars == 1 && inputs_ > 1) {
      const Broadcast wanted = scalar == 0 ? Broadcast::first : Broadcast::last;
      const bool at_end = scalar == 0 || scalar + 1 == inputs_;
      if (at_end && spec.rows[static_cast<size_t>(wanted)] != nullptr) {
        broadcast = wanted;
        sources_[scalar].staged = sources_[scalar].convert != nullptr;
      }
    }
    row_ = spec.rows[static_cast<size_t>(broadcast)];
    scalar_ = broadcast == Broadcast::none ? inputs_ : scalar;
    const DType stored = request.outputs[0].dtype;
    output_size_ = static_cast<int64_t>(size_of(stored));
    if (stored != spec.output) put_ = find_convert(spec.output, stored);
    direct_ = put_ == nullptr;
    for (size_t k = 0; k < inputs_; ++k) direct_ &= !sources_[k].staged;
    workers_ = workers_for_bytes(bytes, request.threads);
  }

  void run(const Args& args, Worker worker) const override {
    const Range range = worker.count == 1 ? Range{0, total_} : part_of(total_, worker, kGrain);
    if (range.begin == range.end) return;
    char* output = static_cast<char*>(args.outputs[0]) + range.begin * output_size_;
    if (loops_.rank == 1) return run_part(args, {}, range.begin, range.end - range.begin, output);
    const int64_t inner = loops_.inner();
    RowCursor cursor(loops_, range.begin / inner);
    int64_t column = range.begin % inner;
    for (int64_t left = range.end - range.begin; left > 0;) {
      const int64_t count = std::min(left, inner - column);
      Loops::Offsets offsets{};
      for (size_t k = 0; k < inputs_; ++k) offsets[k] = cursor.offset(k);
      run_part(args, offsets, column, count, output);
      output += count * output_size_;
      left -= count;
      column = 0;
      cursor.next();
    }
  }

  std::optional<RowCall> row_call() const override {
    if (!direct_ || divides_) return std::nullopt;
    RowCall call{row_, &params_, {}};
    for (size_t k = 0; k < inputs_; ++k) call.operands[k] = sources_[k].operand;
    return call;
  }

  void run_row(const Args& args, const void* const* operands, void* output,
               int64_t count) const override {
    const void* inputs[kMaxInputs];
    for (size_t k = 0; k < inputs_; ++k) inputs[k] = operands[sources_[k].operand];
    compute(args, inputs, count, static_cast<char*>(output));
  }

 private:
  // `count` elements of one row, from `column` on.
  void run_part(const Args& args, const Loops::Offsets& offsets, int64_t column, int64_t count,
                char* output) const {
    const void* inputs[kMaxInputs];
    for (size_t k = 0; k < inputs_; ++k) {
      const Source& source = sources_[k];
      inputs[k] = at(args.inputs[source.operand], offsets[k] + column * source.stride);
    }
    compute(args, inputs, count, output);
  }

  void compute(const Args& args, const void* const* inputs, int64_t count, char* output) const {
    if (direct_) return call_row(args, inputs, count, output);
    run_staged(args, inputs, count, output);
  }

  void call_row(const Args& args, const void* const* operands, int64_t count, void* output) const {
    if (divides_ && divides_by_zero(operands, count)) {
      args.fault->store(node_, std::memory_order_relaxed);
    }
    row_(params_, operands, output, count);
  }

  bool divides_by_zero(const void* const* operands, int64_t count) const {
    if (inputs_ == 1) return params_.i == 0;
    const int64_t* divisors = static_cast<const int64_t*>(operands[1]);
    if (scalar_ == 1) count = 1;
    return std::find(divisors, divisors + count, 0) != divisors + count;
  }

  void run_staged(const Args& args, const void* const* inputs, int64_t count, char* output) const {
    alignas(64) char stage[kMaxInputs + 1][kChunk * sizeof(int64_t)];
    for (int64_t begin = 0; begin < count; begin += kChunk) {
      const int64_t chunk = std::min(kChunk, count - begin);
      const void* operands[kMaxInputs];
      for (size_t k = 0; k < inputs_; ++k) {
        const Source& source = sources_[k];
        const void* from = at(inputs[k], begin * source.stride);
        operands[k] = source.staged ? stage[k] : from;
        if (!source.staged || (begin > 0 && source.stride == 0)) continue;
        // A chunk of equal elements serves all chunks; the first is the longest.
        fill_stage(source, from, stage[k], k == scalar_ ? 1 : chunk);
      }
      char* target = output + begin * output_size_;
      call_row(args, operands, chunk, put_ != nullptr ? stage[kMaxInputs] : target);
      if (put_ != nullptr) put_(stage[kMaxInputs], target, chunk);
    }
  }

  static void fill_stage(const Source& source, const void* from, void* stage, int64_t count) {
    if (source.convert == nullptr) {
      return gather(from, source.stride, source.element_size, stage, count);
    }
    alignas(64) char raw[kChunk * sizeof(int64_t)], rounded[kChunk * sizeof(int64_t)];
    if (source.stride != static_cast<int64_t>(source.element_size)) {
      gather(from, source.stride, source.element_size, raw, count);
      from = raw;
    }
    if (source.round != nullptr) {
      source.round(from, rounded, count);
      from = rounded;
    }
    source.convert(from, stage, count);
  }

  const ir::Node* node_;
  Loops loops_;
  Params params_;
  int64_t total_;
  size_t inputs_;
  bool divides_;
  std::array<Source, kMaxInputs> sources_;
  size_t scalar_ = 0;  // the input that is a single element to the row function; inputs_: none
  RowFunction row_ = nullptr;
  bool direct_ = false;  // nothing is staged
  int64_t output_size_ = 4;
  Convert put_ = nullptr;
};

}  // namespace

Params scalar_params(const ir::Node& node, std::string_view name) {
  const ir::Attribute& value = node.attribute(name);
  Params params;
  params.a = static_cast<float>(node.real(name));
  params.real = std::holds_alternative<double>(value);
  if (!params.real) params.i = ir::number_of<int64_t>(value);
  return params;
}

std::unique_ptr<Kernel> make_elementwise(const device::Request& request, const Elementwise& spec) {
  const std::vector<int64_t>& sizes = request.outputs[0].sizes();
  std::vector<Strides> strides;
  for (size_t operand : spec.operands) {
    strides.push_back(broadcast_strides(*request.inputs[operand], sizes));
  }
  const std::optional<Loops> loops = make_loops(sizes, strides);
  if (!loops) return nullptr;
  return std::make_unique<ElementwiseKernel>(request, spec, *loops);
}

namespace {

// What the operands are converted to before: for a predicate what they promote to, else the
// result's.
DType common_dtype(const device::Request& request, const ElementwiseOp& op, bool real) {
  if (!op.predicate) return request.outputs[0].dtype;
  const DType dtype = ops::promote(request.node->operands);
  return real && !is_floating(dtype) ? DType::float32 : dtype;
}

}  // namespace

std::unique_ptr<Kernel> make_arithmetic(const device::Request& request, const ElementwiseOp& op,
                                        const std::vector<size_t>& operands) {
  Elementwise spec;
  spec.operands = operands;
  if (op.params != nullptr) spec.params = op.params(*request.node);
  DType dtype = common_dtype(request, op, spec.params.real);
  if (op.scalars == Scalars::round) {
    spec.params.a = dispatch(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      if constexpr (is_floating_v<T>) return to_float(from_float<T>(spec.params.a));
      return spec.params.a;
    });
  } else {
    for (size_t operand : operands) {
      const device::TensorDesc& desc = *request.inputs[operand];
      if (is_floating(dtype) && desc.sizes().empty() && desc.dtype != dtype) {
        dtype = DType::float32;
      }
    }
  }
  if (op.scalars == Scalars::round) spec.rounded = dtype;
  if (op.rows.of(dtype)[0] == nullptr) dtype = is_floating(dtype) ? DType::float32 : DType::int64;
  spec.rows = op.rows.of(dtype);
  if (spec.rows[0] == nullptr) return nullptr;
  spec.inputs.assign(operands.size(), dtype);
  spec.output = op.predicate ? DType::boolean : dtype;
  spec.divides = op.divides && dtype == DType::int64;
  return make_elementwise(request, spec);
}

const ElementwiseOp& find_op(ElementwiseOps ops, std::string_view name) {
  return *std::find_if(ops.begin(), ops.end(),
                       [name](const ElementwiseOp& op) { return op.name == name; });
}

}  // namespace ostinato::cpu
