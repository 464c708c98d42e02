// Functions of fp32 vectors, with IEEE's results for infinities and NaN. Included once a target,
// hence the guard that toggles.
#if defined(OSTINATO_DEVICE_CPU_KERNELS_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef OSTINATO_DEVICE_CPU_KERNELS_MATH_INL_H_
#undef OSTINATO_DEVICE_CPU_KERNELS_MATH_INL_H_
#else
#define OSTINATO_DEVICE_CPU_KERNELS_MATH_INL_H_
#endif

#include <hwy/contrib/math/math-inl.h>

#include <cmath>

#include "ostinato/device/cpu/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ostinato::cpu::HWY_NAMESPACE {

/// `value`, but NaN where `x` is NaN.
HWY_INLINE VecF keep_nan(VecF value, VecF x) { return hn::IfThenElse(hn::IsNaN(x), x, value); }

/// `f` of each lane, for what is too rare or too intricate to be vectorised.
template <typename F>
HWY_INLINE VecF by_lane(F f, VecF x) {
  float lane[hn::MaxLanes(Floats())];
  store(x, lane);
  for (size_t i = 0; i < lanes(); ++i) lane[i] = f(lane[i]);
  return load(lane);
}
template <typename F>
HWY_INLINE VecF by_lane(F f, VecF x, VecF y) {
  float lane[hn::MaxLanes(Floats())], other[hn::MaxLanes(Floats())];
  store(x, lane);
  store(y, other);
  for (size_t i = 0; i < lanes(); ++i) lane[i] = f(lane[i], other[i]);
  return load(lane);
}

/// e^x for x ≤ 0, as after a softmax's maximum is taken off: 2^n · e^r with a polynomial that is
/// within 4e-9 of e^r, and 0 where the result would be no normal float.
HWY_INLINE VecF exp_negative(VecF x) {
  const hn::Rebind<int32_t, Floats> words;
  const VecF least = set(-87.0f);
  // Rounds to an integer, which is then in the low bits.
  const VecF round = set(12582912.0f);  // 1.5 · 2^23
  const VecF rounded = hn::MulAdd(x, set(1.44269504f), round);
  const VecF n = hn::Sub(rounded, round);
  // ln 2 in two pieces, the first with so few bits that its multiples are exact
  VecF r = hn::NegMulAdd(n, set(0.693359375f), x);
  r = hn::NegMulAdd(n, set(-2.12194440e-4f), r);
  VecF q = hn::MulAdd(set(1.39510975e-3f), r, set(8.36923933e-3f));
  q = hn::MulAdd(q, r, set(4.16661967e-2f));
  q = hn::MulAdd(q, r, set(1.66665159e-1f));
  q = hn::MulAdd(q, r, set(0.5f));
  const VecF y = hn::Add(hn::MulAdd(q, hn::Mul(r, r), r), set(1.0f));
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(words, rounded));
  const VecF power = hn::BitCast(Floats(), hn::Add(hn::BitCast(words, y), exponent));
  return keep_nan(hn::IfThenElseZero(hn::Ge(x, least), power), x);
}

HWY_INLINE VecF exp(VecF x) { return keep_nan(hn::Exp(Floats(), hn::Min(x, set(104.0f))), x); }

HWY_INLINE VecF expm1(VecF x) { return keep_nan(hn::Expm1(Floats(), hn::Min(x, set(104.0f))), x); }

HWY_INLINE VecF log_limits(VecF value, VecF x, float pole) {
  const VecF infinity = set(std::numeric_limits<float>::infinity());
  value = hn::IfThenElse(hn::Eq(x, infinity), infinity, value);
  value = hn::IfThenElse(hn::Eq(x, set(pole)), hn::Neg(infinity), value);
  const VecF nan = set(std::numeric_limits<float>::quiet_NaN());
  return hn::IfThenElse(hn::Ge(x, set(pole)), value, nan);
}

HWY_INLINE VecF log(VecF x) { return log_limits(hn::Log(Floats(), x), x, 0.0f); }
HWY_INLINE VecF log2(VecF x) { return log_limits(hn::Log2(Floats(), x), x, 0.0f); }
HWY_INLINE VecF log10(VecF x) { return log_limits(hn::Log10(Floats(), x), x, 0.0f); }
HWY_INLINE VecF log1p(VecF x) {
  // Around -1 hwy's form 0/0s; x itself is right for the smallest.
  const VecF tiny = hn::IfThenElse(hn::Lt(hn::Abs(x), set(1e-7f)), x, hn::Log1p(Floats(), x));
  return log_limits(tiny, x, -1.0f);
}

HWY_INLINE VecF tanh(VecF x) { return keep_nan(hn::Tanh(Floats(), x), x); }

/// 1 / (1 + e^-x)
HWY_INLINE VecF sigmoid(VecF x) { return hn::Div(set(1.0f), hn::Add(set(1.0f), exp(hn::Neg(x)))); }

/// x · sigmoid(x)
HWY_INLINE VecF silu(VecF x) { return hn::Div(x, hn::Add(set(1.0f), exp(hn::Neg(x)))); }

/// erf(x / √2), within 4e-7; NaN may become ±1. A rational minimax fit of erf(x / √2) / x in x²
/// over |x| ≤ 5.54, where it rounds to ±1.
HWY_INLINE VecF erf_of_sqrt_half(VecF x) {
  const VecF t = hn::Min(hn::Mul(x, x), set(30.7328f));
  VecF p = set(4.53026843e-08f);
  p = hn::MulAdd(p, t, set(1.25897559e-05f));
  p = hn::MulAdd(p, t, set(3.32799827e-04f));
  p = hn::MulAdd(p, t, set(9.32451710e-03f));
  p = hn::MulAdd(p, t, set(6.73154071e-02f));
  p = hn::MulAdd(p, t, set(7.97884524e-01f));
  VecF q = set(1.19037657e-06f);
  q = hn::MulAdd(q, t, set(7.26521903e-05f));
  q = hn::MulAdd(q, t, set(1.87104766e-03f));
  q = hn::MulAdd(q, t, set(2.85262708e-02f));
  q = hn::MulAdd(q, t, set(2.51033723e-01f));
  q = hn::MulAdd(q, t, set(1.0f));
  const VecF one = set(1.0f);
  return hn::Max(hn::Min(hn::Div(hn::Mul(x, p), q), one), hn::Neg(one));
}

HWY_INLINE VecF erf(VecF x) { return keep_nan(erf_of_sqrt_half(hn::Mul(x, set(1.41421356f))), x); }

/// x · Φ(x) with the normal distribution's Φ.
HWY_INLINE VecF gelu_erf(VecF x) {
  const VecF half = hn::Mul(x, set(0.5f));
  return hn::MulAdd(half, erf_of_sqrt_half(x), half);
}

HWY_INLINE VecF gelu_tanh(VecF x) {
  // 0.5·x·(1 + tanh(u)) = x·sigmoid(2u) with u = √(2/π)·(x + 0.044715·x³)
  const VecF cubic = hn::MulAdd(hn::Mul(hn::Mul(x, x), x), set(0.044715f), x);
  const VecF y = hn::Add(set(1.0f), exp(hn::Mul(cubic, set(-1.5957691216f))));
  return hn::Div(x, y);
}

/// x · sigmoid(1.702 · x)
HWY_INLINE VecF quick_gelu(VecF x) {
  return hn::Div(x, hn::Add(set(1.0f), exp(hn::Mul(x, set(-1.702f)))));
}

/// Rounded towards the nearest, ties to even.
HWY_INLINE VecF round(VecF x) { return hn::Round(x); }

/// Of sine and cosine the one that `quarter` turns ahead of the sine is. The turns are taken off in
/// double precision, good for rotary tables of any length; beyond that lane by lane.
template <int quarter>
HWY_INLINE VecF sine(VecF x) {
  const VecF limit = set(1e8f);
  if (!hn::AllTrue(Floats(), hn::Lt(hn::Abs(x), limit))) {
    return by_lane([](float v) { return quarter == 0 ? std::sin(v) : std::cos(v); }, x);
  }
  const hn::ScalableTag<double> doubles;
  const hn::Rebind<float, decltype(doubles)> part;
  const hn::Rebind<int32_t, decltype(doubles)> part_words;
  float lane[hn::MaxLanes(Floats())];
  int32_t turn[hn::MaxLanes(Floats())];
  store(x, lane);
  for (size_t i = 0; i < lanes(); i += hn::Lanes(doubles)) {
    const auto v = hn::PromoteTo(doubles, hn::LoadU(part, lane + i));
    const auto n = hn::Round(hn::Mul(v, hn::Set(doubles, 0.63661977236758134308)));  // 2/π
    // π/2 in two pieces, the first with so few bits that its multiples are exact
    auto r = hn::NegMulAdd(n, hn::Set(doubles, 0x1.921fb544p+0), v);
    r = hn::NegMulAdd(n, hn::Set(doubles, 0x1.0b4611a626331p-34), r);
    hn::StoreU(hn::DemoteTo(part, r), part, lane + i);
    hn::StoreU(hn::DemoteTo(part_words, n), part_words, turn + i);
  }
  const hn::Rebind<int32_t, Floats> words;
  const VecF r = load(lane);
  const auto n = hn::Add(hn::LoadU(words, turn), hn::Set(words, quarter));
  const VecF t = hn::Mul(r, r);
  VecF s = hn::MulAdd(set(2.72499957e-06f), t, set(-1.98400876e-04f));
  s = hn::MulAdd(s, t, set(8.33333188e-03f));
  s = hn::MulAdd(s, t, set(-1.66666667e-01f));
  s = hn::MulAdd(hn::Mul(s, t), r, r);
  VecF c = hn::MulAdd(set(-2.73010085e-07f), t, set(2.48006010e-05f));
  c = hn::MulAdd(c, t, set(-1.38888877e-03f));
  c = hn::MulAdd(c, t, set(4.16666667e-02f));
  c = hn::MulAdd(hn::Mul(c, t), t, hn::MulAdd(t, set(-0.5f), set(1.0f)));
  const auto odd = hn::Eq(hn::And(n, hn::Set(words, 1)), hn::Set(words, 1));
  const auto sign = hn::ShiftLeft<30>(hn::And(n, hn::Set(words, 2)));
  const VecF y = hn::IfThenElse(hn::RebindMask(Floats(), odd), c, s);
  return hn::Xor(y, hn::BitCast(Floats(), sign));
}

}  // namespace ostinato::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // OSTINATO_DEVICE_CPU_KERNELS_MATH_INL_H_
