#include "ostinato/device/cpu/kernels/attention_rows.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ostinato/device/cpu/kernels/attention_rows.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "ostinato/device/cpu/kernels/math-inl.h"
#include "ostinato/device/cpu/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ostinato::cpu::HWY_NAMESPACE {

void cap(float* x, int64_t count, float scale, float cap) {
  const int64_t width = static_cast<int64_t>(lanes());
  const VecF inner = set(scale / cap), outer = set(cap);
  int64_t i = 0;
  for (; i + width <= count; i += width) {
    store(hn::Mul(tanh(hn::Mul(load(x + i), inner)), outer), x + i);
  }
  if (i < count) {
    const size_t rest = static_cast<size_t>(count - i);
    store_n(hn::Mul(tanh(hn::Mul(load_n(x + i, rest), inner)), outer), x + i, rest);
  }
}

template <typename Weight>
float soften(float* x, int64_t count, float scale, const float* bias, SoftmaxState& state,
             void* weights) {
  constexpr float kNothing = -std::numeric_limits<float>::infinity();
  const int64_t width = static_cast<int64_t>(lanes());
  const size_t rest = static_cast<size_t>(count % width);
  const int64_t whole = count - count % width;
  const VecF factor = set(scale), nothing = set(kNothing);
  VecF most = nothing;
  for (int64_t i = 0; i < whole; i += width) {
    VecF value = hn::Mul(load(x + i), factor);
    if (bias != nullptr) value = hn::Add(value, load(bias + i));
    store(value, x + i);
    most = hn::Max(value, most);
  }
  if (rest > 0) {
    VecF value = hn::Mul(load_n(x + whole, rest), factor);
    if (bias != nullptr) value = hn::Add(value, load_n(bias + whole, rest));
    store_n(value, x + whole, rest);
    most = hn::Max(first_n(value, rest, nothing), most);
  }
  const float max = std::max(state.max, max_of_lanes(most));
  // Without a key that may be attended any finite maximum gives zeros.
  const VecF shift = set(max == kNothing ? 0.0f : max);
  Weight* to = static_cast<Weight*>(weights);
  VecF sum = zero();
  for (int64_t i = 0; i < whole; i += width) {
    const VecF value = exp_negative(hn::Sub(load(x + i), shift));
    store(value, to + i);
    sum = hn::Add(sum, value);
  }
  if (rest > 0) {
    const VecF value = exp_negative(hn::Sub(load_n(x + whole, rest), shift));
    store_n(value, to + whole, rest);
    sum = hn::Add(sum, first_n(value, rest, zero()));
  }
  const float correction = state.max == kNothing ? 0.0f : std::exp(state.max - max);
  state = {max, state.sum * correction + sum_of_lanes(sum)};
  return correction;
}

void accumulate(const float* c, float factor, float* sums, int64_t count) {
  const int64_t width = static_cast<int64_t>(lanes());
  const VecF old = set(factor);
  int64_t i = 0;
  for (; i + width <= count; i += width) {
    store(hn::MulAdd(load(sums + i), old, load(c + i)), sums + i);
  }
  if (i < count) {
    const size_t rest = static_cast<size_t>(count - i);
    store_n(hn::MulAdd(load_n(sums + i, rest), old, load_n(c + i, rest)), sums + i, rest);
  }
}

template <typename T>
void write(const float* sums, float factor, void* y, int64_t count) {
  const int64_t width = static_cast<int64_t>(lanes());
  const VecF scale = set(factor);
  T* to = static_cast<T*>(y);
  int64_t i = 0;
  for (; i + width <= count; i += width) store(hn::Mul(load(sums + i), scale), to + i);
  if (i < count) {
    const size_t rest = static_cast<size_t>(count - i);
    store_n(hn::Mul(load_n(sums + i, rest), scale), to + i, rest);
  }
}

AttentionRows find_attention_rows(DType dtype, DType weights) {
  const auto soften_to = weights == DType::bfloat16 ? soften<bfloat16> : soften<float>;
  switch (dtype) {
    case DType::bfloat16: return {cap, soften_to, accumulate, write<bfloat16>};
    case DType::float16: return {cap, soften_to, accumulate, write<float16>};
    default: return {cap, soften_to, accumulate, write<float>};
  }
}

}  // namespace ostinato::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ostinato::cpu {

HWY_EXPORT(find_attention_rows);

AttentionRows attention_rows(DType dtype, DType weights) {
  return HWY_DYNAMIC_DISPATCH(find_attention_rows)(dtype, weights);
}

}  // namespace ostinato::cpu
#endif
