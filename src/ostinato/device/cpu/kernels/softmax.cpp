#include <algorithm>
#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ostinato/device/cpu/kernels/softmax.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ostinato/device/cpu/kernels/kernels.h"
#include "ostinato/device/cpu/kernels/loops.h"
#include "ostinato/device/cpu/kernels/math-inl.h"
#include "ostinato/device/cpu/kernels/reduce-inl.h"

#ifndef OSTINATO_DEVICE_CPU_KERNELS_SOFTMAX_ONCE_
#define OSTINATO_DEVICE_CPU_KERNELS_SOFTMAX_ONCE_
namespace ostinato::cpu {

/// The softmax of `count` adjacent elements, or its logarithm; `floats` has room for as many.
using SoftmaxRow = void (*)(const void* x, void* y, float* floats, int64_t count);

}  // namespace ostinato::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace ostinato::cpu::HWY_NAMESPACE {

template <typename In, typename Out, bool logarithm>
void softmax_row(const void* input, void* output, float* floats, int64_t count) {
  const In* x = static_cast<const In*>(input);
  Out* y = static_cast<Out*>(output);
  if constexpr (std::is_same_v<Out, float>) floats = y;
  const int64_t step = static_cast<int64_t>(lanes());
  const int64_t whole = count - count % step;
  const size_t rest = static_cast<size_t>(count - whole);
  const VecF max = set(row_max(x, count));
  // Shifted by the maximum, or raised to e too; both are wanted for the sum.
  VecF sum = zero();
  const auto visit = [&](VecF value, int64_t i, size_t lanes_left) HWY_ATTR {
    const VecF shifted = hn::Sub(value, max);
    const VecF power = exp_negative(shifted);
    const VecF kept = logarithm ? shifted : power;
    if (lanes_left == 0) {
      sum = hn::Add(sum, power);
      store(kept, floats + i);
    } else {
      sum = hn::Add(sum, first_n(power, lanes_left, zero()));
      store_n(kept, floats + i, lanes_left);
    }
  };
  for (int64_t i = 0; i < whole; i += step) visit(load(x + i), i, 0);
  if (rest != 0) visit(load_n(x + whole, rest), whole, rest);
  const float total = sum_of_lanes(sum);
  const VecF scale = set(logarithm ? std::log(total) : 1.0f / total);
  const auto finish = [&](VecF value) HWY_ATTR {
    return logarithm ? hn::Sub(value, scale) : hn::Mul(value, scale);
  };
  for (int64_t i = 0; i < whole; i += step) store(finish(load(floats + i)), y + i);
  if (rest != 0) store_n(finish(load_n(floats + whole, rest)), y + whole, rest);
}

template <typename In, typename Out>
SoftmaxRow pick(bool logarithm) {
  return logarithm ? softmax_row<In, Out, true> : softmax_row<In, Out, false>;
}

SoftmaxRow softmax_row_of(DType from, DType to, bool logarithm) {
  if (from == DType::float32 && to == from) return pick<float, float>(logarithm);
  if (from == DType::bfloat16 && to == from) return pick<bfloat16, bfloat16>(logarithm);
  if (from == DType::float16 && to == from) return pick<float16, float16>(logarithm);
  if (from == DType::bfloat16 && to == DType::float32) return pick<bfloat16, float>(logarithm);
  if (from == DType::float16 && to == DType::float32) return pick<float16, float>(logarithm);
  return nullptr;
}

}  // namespace ostinato::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ostinato::cpu {

HWY_EXPORT(softmax_row_of);

namespace {

class SoftmaxKernel final : public Kernel {
 public:
  SoftmaxKernel(const device::Request& request, size_t dim, const Loops& loops, SoftmaxRow row)
      : loops_(loops), row_(row) {
    const device::TensorDesc& x = *request.inputs[0];
    const device::TensorDesc& y = request.outputs[0];
    x_size_ = size_of(x.dtype);
    y_size_ = size_of(y.dtype);
    const bool scalar = x.sizes().empty();
    length_ = scalar ? 1 : x.sizes()[dim];
    x_stride_ = scalar ? 0 : byte_strides(x)[dim];
    y_stride_ = scalar ? 0 : byte_strides(y)[dim];
    x_staged_ = length_ > 1 && x_stride_ != static_cast<int64_t>(x_size_);
    y_staged_ = length_ > 1 && y_stride_ != static_cast<int64_t>(y_size_);
    constexpr double kMicrosecondsPerElement = 0.5e-3;
    workers_ =
        workers_for(static_cast<double>(y.numel()) * kMicrosecondsPerElement, request.threads);
  }

  size_t scratch_bytes() const override { return static_cast<size_t>(workers_) * 3 * buffer(); }

  void run(const Args& args, Worker worker) const override {
    const Range rows = part_of(loops_.count(), worker);
    char* scratch = at(args.scratch, worker.index * static_cast<int64_t>(3 * buffer()));
    float* floats = reinterpret_cast<float*>(scratch);
    char* x_stage = scratch + buffer();
    char* y_stage = x_stage + buffer();
    ElementCursor cursor(loops_, rows.begin);
    for (int64_t i = rows.begin; i < rows.end; ++i, cursor.next()) {
      const char* x = at(args.inputs[0], cursor.offset(0));
      char* y = at(args.outputs[0], cursor.offset(1));
      if (x_staged_) gather(x, x_stride_, x_size_, x_stage, length_);
      row_(x_staged_ ? x_stage : x, y_staged_ ? y_stage : y, floats, length_);
      if (y_staged_) spread(y_stage, y, y_stride_, y_size_, length_);
    }
  }

 private:
  // Room for one row of floats.
  size_t buffer() const { return (static_cast<size_t>(length_) * sizeof(float) + 63) / 64 * 64; }

  Loops loops_;  // every row's first element, of x and of y
  SoftmaxRow row_;
  size_t x_size_, y_size_;
  int64_t length_, x_stride_, y_stride_;
  bool x_staged_, y_staged_;
};

template <bool logarithm>
std::unique_ptr<Kernel> make_softmax(const device::Request& request) {
  const device::TensorDesc& x = *request.inputs[0];
  const device::TensorDesc& y = request.outputs[0];
  const SoftmaxRow row = HWY_DYNAMIC_DISPATCH(softmax_row_of)(x.dtype, y.dtype, logarithm);
  const size_t dim = wrap_dim(request.node->integer("dim"), x.sizes().size());
  std::vector<int64_t> rows = x.sizes();
  if (!rows.empty() && rows[dim] > 0) rows[dim] = 1;
  const Strides strides[] = {byte_strides(x), byte_strides(y)};
  const std::optional<Loops> loops = make_loops(rows, strides);
  if (row == nullptr || !loops) return nullptr;
  return std::make_unique<SoftmaxKernel>(request, dim, *loops, row);
}

}  // namespace

void add_softmax(KernelTable& table) {
  table.add("aten._softmax", device::Tier::fast, make_softmax<false>);
  table.add("aten._log_softmax", device::Tier::fast, make_softmax<true>);
}

}  // namespace ostinato::cpu
#endif  // HWY_ONCE
