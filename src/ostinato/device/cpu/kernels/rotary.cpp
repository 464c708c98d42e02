#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ostinato/device/cpu/kernels/rotary.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ostinato/device/cpu/kernels/kernels.h"
#include "ostinato/device/cpu/kernels/loops.h"
#include "ostinato/device/cpu/kernels/rotary_row.h"
#include "ostinato/device/cpu/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ostinato::cpu::HWY_NAMESPACE {

// x·cos + (−b, a)·sin for the halves a, b of x. T: of x, C: of the cosines and sines, Y: of y.
template <typename T, typename C, typename Y>
void halves_row(const void* input, const void* cosines, const void* sines, void* output,
                int64_t rotated, int64_t count) {
  const T* x = static_cast<const T*>(input);
  const C* cos = static_cast<const C*>(cosines);
  const C* sin = static_cast<const C*>(sines);
  Y* y = static_cast<Y*>(output);
  const int64_t half = rotated / 2, step = static_cast<int64_t>(lanes());
  int64_t i = 0;
  for (; i + step <= half; i += step) {
    const int64_t j = half + i;
    const VecF a = load(x + i), b = load(x + j);
    store(hn::NegMulAdd(b, load(sin + i), hn::Mul(a, load(cos + i))), y + i);
    store(hn::MulAdd(a, load(sin + j), hn::Mul(b, load(cos + j))), y + j);
  }
  if (i < half) {
    const int64_t j = half + i;
    const size_t rest = static_cast<size_t>(half - i);
    const VecF a = load_n(x + i, rest), b = load_n(x + j, rest);
    store_n(hn::NegMulAdd(b, load_n(sin + i, rest), hn::Mul(a, load_n(cos + i, rest))), y + i,
            rest);
    store_n(hn::MulAdd(a, load_n(sin + j, rest), hn::Mul(b, load_n(cos + j, rest))), y + j, rest);
  }
  for (i = rotated; i < count; ++i) y[i] = from_float<Y>(to_float(x[i]));
}

// The same for neighbours a, b.
template <typename T, typename C, typename Y>
void pairs_row(const void* input, const void* cosines, const void* sines, void* output,
               int64_t rotated, int64_t count) {
  const T* x = static_cast<const T*>(input);
  const C* cos = static_cast<const C*>(cosines);
  const C* sin = static_cast<const C*>(sines);
  Y* y = static_cast<Y*>(output);
  for (int64_t i = 0; i < rotated; i += 2) {
    const float a = to_float(x[i]), b = to_float(x[i + 1]);
    y[i] = from_float<Y>(a * to_float(cos[i]) - b * to_float(sin[i]));
    y[i + 1] = from_float<Y>(b * to_float(cos[i + 1]) + a * to_float(sin[i + 1]));
  }
  for (int64_t i = rotated; i < count; ++i) y[i] = from_float<Y>(to_float(x[i]));
}

template <typename T, typename C, typename Y>
RotaryRow pick(bool interleaved) {
  return interleaved ? pairs_row<T, C, Y> : halves_row<T, C, Y>;
}

RotaryRow rotary_row_of(DType x, DType cos, DType y, bool interleaved) {
  if (x == cos && y == x) {
    if (x == DType::float32) return pick<float, float, float>(interleaved);
    if (x == DType::bfloat16) return pick<bfloat16, bfloat16, bfloat16>(interleaved);
    if (x == DType::float16) return pick<float16, float16, float16>(interleaved);
  }
  if (cos != DType::float32) return nullptr;
  if (y == x) {
    if (x == DType::bfloat16) return pick<bfloat16, float, bfloat16>(interleaved);
    if (x == DType::float16) return pick<float16, float, float16>(interleaved);
  }
  if (y != DType::float32) return nullptr;
  if (x == DType::bfloat16) return pick<bfloat16, float, float>(interleaved);
  if (x == DType::float16) return pick<float16, float, float>(interleaved);
  return nullptr;
}

}  // namespace ostinato::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ostinato::cpu {

HWY_EXPORT(rotary_row_of);

RotaryRow rotary_row(DType x, DType cos, DType y, bool interleaved) {
  return HWY_DYNAMIC_DISPATCH(rotary_row_of)(x, cos, y, interleaved);
}

namespace {

class RotaryKernel final : public Kernel {
 public:
  RotaryKernel(const device::Request& request, const Loops& loops, RotaryRow row)
      : loops_(loops),
        row_(row),
        rotated_(request.inputs[1]->sizes().back()),
        count_(request.inputs[0]->sizes().back()),
        row_bytes_(count_ * static_cast<int64_t>(size_of(request.outputs[0].dtype))) {
    workers_ = workers_for_bytes(4 * request.outputs[0].bytes(), request.threads);
  }

  void run(const Args& args, Worker worker) const override {
    const Range rows = part_of(loops_.count(), worker);
    const void *x = args.inputs[0], *cos = args.inputs[1], *sin = args.inputs[2];
    ElementCursor cursor(loops_, rows.begin);
    for (int64_t i = rows.begin; i < rows.end; ++i, cursor.next()) {
      row_(at(x, cursor.offset(0)), at(cos, cursor.offset(1)), at(sin, cursor.offset(2)),
           at(args.outputs[0], i * row_bytes_), rotated_, count_);
    }
  }

 private:
  Loops loops_;  // over the rows
  RotaryRow row_;
  int64_t rotated_, count_, row_bytes_;
};

std::unique_ptr<Kernel> make_rotary(const device::Request& request) {
  const device::TensorDesc &x = *request.inputs[0], &cos = *request.inputs[1];
  const device::TensorDesc& sin = *request.inputs[2];
  std::vector<int64_t> rows = x.sizes();
  rows.pop_back();
  std::vector<Strides> strides;
  for (const device::TensorDesc* desc : {&x, &cos, &sin}) {
    if (desc->strides().back() != 1 && desc->sizes().back() > 1) return nullptr;
    std::vector<int64_t> sizes = rows;
    sizes.push_back(desc->sizes().back());
    strides.push_back(broadcast_strides(*desc, sizes));
    strides.back().pop_back();
  }
  const auto loops = make_loops(rows, strides);
  const RotaryRow row =
      rotary_row(x.dtype, cos.dtype, request.outputs[0].dtype, request.node->flag("interleaved"));
  if (!loops || row == nullptr || sin.dtype != cos.dtype) return nullptr;
  return std::make_unique<RotaryKernel>(request, *loops, row);
}

}  // namespace

void add_rotary(KernelTable& table) { table.add("rotary", device::Tier::fast, make_rotary); }

}  // namespace ostinato::cpu
#endif  // HWY_ONCE
