// Floats of any storage as vectors of fp32, and arithmetic on them that Highway lacks. Included
// once a target, hence the guard that toggles.
#if defined(OSTINATO_DEVICE_CPU_KERNELS_VECTOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef OSTINATO_DEVICE_CPU_KERNELS_VECTOR_INL_H_
#undef OSTINATO_DEVICE_CPU_KERNELS_VECTOR_INL_H_
#else
#define OSTINATO_DEVICE_CPU_KERNELS_VECTOR_INL_H_
#endif

#include <hwy/highway.h>

#include "ostinato/base/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace ostinato::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using VecF = hn::Vec<Floats>;
using Words = hn::Rebind<uint32_t, Floats>;
using Halves = hn::Rebind<uint16_t, Floats>;
using VecH = hn::Vec<Halves>;

HWY_INLINE size_t lanes() { return hn::Lanes(Floats()); }

HWY_INLINE VecF set(float value) { return hn::Set(Floats(), value); }

HWY_INLINE VecF zero() { return hn::Zero(Floats()); }

/// 1 where the mask is set, else 0.
HWY_INLINE VecF truth(hn::Mask<Floats> mask) { return hn::IfThenElseZero(mask, set(1)); }

/// 1 where a lane is other than zero (NaN is), else 0.
HWY_INLINE VecF nonzero(VecF x) { return hn::IfThenElse(hn::Eq(x, zero()), zero(), set(1)); }

// ---- 16-bit storage, as the bits of a vector

HWY_INLINE VecF from_bits(bfloat16, VecH bits) {
  return hn::BitCast(Floats(), hn::ShiftLeft<16>(hn::PromoteTo(Words(), bits)));
}

/// Rounded to bfloat16, whose bits are the upper half of each word; the lower is arbitrary.
HWY_INLINE hn::Vec<Words> round_to_upper_half(VecF value) {
  const Words words;
  const auto bits = hn::BitCast(words, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(words, 1u));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(words, 0x7fffu)));
  const auto quiet = hn::Or(bits, hn::Set(words, 0x400000u));
  return hn::IfThenElse(hn::RebindMask(words, hn::IsNaN(value)), quiet, rounded);
}

HWY_INLINE VecH to_bits(bfloat16, VecF value) {
  const auto rounded = round_to_upper_half(value);
#if HWY_TARGET == HWY_AVX3  // picks them by one instruction, not three
  const hn::Repartition<uint16_t, Words> halves;
  const auto pairs = hn::BitCast(halves, rounded);
  return hn::LowerHalf(Halves(), hn::ConcatOdd(halves, pairs, pairs));
#else
  const hn::Rebind<int32_t, Floats> signed_words;
  return hn::DemoteTo(Halves(), hn::BitCast(signed_words, hn::ShiftRight<16>(rounded)));
#endif
}

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3  // both imply F16C

HWY_INLINE VecF from_bits(float16, VecH bits) {
  const hn::Rebind<hwy::float16_t, Floats> halves;
  return hn::PromoteTo(Floats(), hn::BitCast(halves, bits));
}

HWY_INLINE VecH to_bits(float16, VecF value) {
  const hn::Rebind<hwy::float16_t, Floats> halves;
  return hn::BitCast(Halves(), hn::DemoteTo(halves, value));
}

#else  // base/float16.h, on vectors

HWY_INLINE VecF from_bits(float16, VecH bits) {
  const Words words;
  const auto wide = hn::PromoteTo(words, bits);
  const auto sign = hn::ShiftLeft<16>(hn::And(wide, hn::Set(words, 0x8000u)));
  const auto magnitude = hn::And(wide, hn::Set(words, 0x7fffu));
  const auto shifted = hn::ShiftLeft<13>(magnitude);
  const auto finite =
      hn::BitCast(words, hn::Mul(hn::BitCast(Floats(), shifted), hn::Set(Floats(), 0x1p112f)));
  const auto special = hn::Or(shifted, hn::Set(words, 0x7f800000u));
  const auto is_special = hn::Gt(magnitude, hn::Set(words, 0x7bffu));
  return hn::BitCast(Floats(), hn::Or(sign, hn::IfThenElse(is_special, special, finite)));
}

HWY_INLINE VecH to_bits(float16, VecF value) {
  const Words words;
  const hn::Rebind<int32_t, Floats> signed_words;
  const auto set_word = [&](uint32_t x) HWY_ATTR { return hn::Set(words, x); };
  const auto bits = hn::BitCast(words, value);
  const auto sign = hn::And(hn::ShiftRight<16>(bits), set_word(0x8000u));
  const auto magnitude = hn::And(bits, set_word(0x7fffffffu));
  const auto odd = hn::And(hn::ShiftRight<13>(magnitude), set_word(1u));
  const auto rounded = hn::Add(magnitude, hn::Add(odd, set_word(0xfffu)));
  const auto normal = hn::ShiftRight<13>(hn::Sub(rounded, set_word(0x38000000u)));
  // Adding 0.5 lets the FPU round a subnormal at bit 2^-24.
  const auto half = hn::Add(hn::BitCast(Floats(), magnitude), hn::Set(Floats(), 0.5f));
  const auto subnormal = hn::Sub(hn::BitCast(words, half), set_word(0x3f000000u));
  auto result = hn::IfThenElse(hn::Lt(magnitude, set_word(0x38800000u)), subnormal, normal);
  result = hn::IfThenElse(hn::Gt(magnitude, set_word(0x477fefffu)), set_word(0x7c00u), result);
  result = hn::IfThenElse(hn::Gt(magnitude, set_word(0x7f800000u)), set_word(0x7e00u), result);
  return hn::DemoteTo(Halves(), hn::BitCast(signed_words, hn::Or(sign, result)));
}

#endif

// ---- rounding to what a dtype can hold

template <typename T>
HWY_INLINE VecF round_to(VecF value) {
  return from_bits(T(), to_bits(T(), value));
}
template <>
HWY_INLINE VecF round_to<float>(VecF value) {
  return value;
}
template <>
HWY_INLINE VecF round_to<bfloat16>(VecF value) {
  const auto upper = hn::Set(Words(), 0xffff0000u);
  return hn::BitCast(Floats(), hn::And(round_to_upper_half(value), upper));
}

// ---- loads and stores: whole vectors, and the first `count` lanes (the others zero)

HWY_INLINE VecF load(const float* from) { return hn::LoadU(Floats(), from); }
HWY_INLINE void store(VecF value, float* to) { hn::StoreU(value, Floats(), to); }

template <typename T>
HWY_INLINE VecF load(const T* from) {
  return from_bits(T(), hn::LoadU(Halves(), &from->bits));
}
template <typename T>
HWY_INLINE void store(VecF value, T* to) {
  hn::StoreU(to_bits(T(), value), Halves(), &to->bits);
}
/// Lanes that are 0 or 1, as bools.
HWY_INLINE void store(VecF value, bool* to) {
  const hn::Rebind<int32_t, Floats> words;
  const hn::Rebind<uint8_t, Floats> bytes;
  hn::StoreU(hn::DemoteTo(bytes, hn::ConvertTo(words, value)), bytes,
             reinterpret_cast<uint8_t*>(to));
}

#if HWY_TARGET == HWY_AVX3  // masks for every lane size

HWY_INLINE VecF load_n(const float* from, size_t count) {
  return hn::MaskedLoad(hn::FirstN(Floats(), count), Floats(), from);
}
HWY_INLINE void store_n(VecF value, float* to, size_t count) {
  hn::BlendedStore(value, hn::FirstN(Floats(), count), Floats(), to);
}
template <typename T>
HWY_INLINE VecF load_n(const T* from, size_t count) {
  return from_bits(T(), hn::MaskedLoad(hn::FirstN(Halves(), count), Halves(), &from->bits));
}
template <typename T>
HWY_INLINE void store_n(VecF value, T* to, size_t count) {
  hn::BlendedStore(to_bits(T(), value), hn::FirstN(Halves(), count), Halves(), &to->bits);
}

#else

template <typename T>
HWY_INLINE VecF load_n(const T* from, size_t count) {
  T lane[hn::MaxLanes(Floats())] = {};
  for (size_t i = 0; i < count; ++i) lane[i] = from[i];
  return load(lane);
}
template <typename T>
HWY_INLINE void store_n(VecF value, T* to, size_t count) {
  T lane[hn::MaxLanes(Floats())];
  store(value, lane);
  for (size_t i = 0; i < count; ++i) to[i] = lane[i];
}

#endif

HWY_INLINE void store_n(VecF value, bool* to, size_t count) {
  bool lane[hn::MaxLanes(Floats())];
  store(value, lane);
  for (size_t i = 0; i < count; ++i) to[i] = lane[i];
}

/// Lanes from `count` on become `other`.
HWY_INLINE VecF first_n(VecF value, size_t count, VecF other) {
  return hn::IfThenElse(hn::FirstN(Floats(), count), value, other);
}

HWY_INLINE float sum_of_lanes(VecF value) { return hn::GetLane(hn::SumOfLanes(Floats(), value)); }
HWY_INLINE float max_of_lanes(VecF value) { return hn::GetLane(hn::MaxOfLanes(Floats(), value)); }

}  // namespace ostinato::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // OSTINATO_DEVICE_CPU_KERNELS_VECTOR_INL_H_
