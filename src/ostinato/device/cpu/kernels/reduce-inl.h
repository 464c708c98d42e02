// Sums and maxima of rows. Included once a target, hence the guard that toggles.
#if defined(OSTINATO_DEVICE_CPU_KERNELS_REDUCE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef OSTINATO_DEVICE_CPU_KERNELS_REDUCE_INL_H_
#undef OSTINATO_DEVICE_CPU_KERNELS_REDUCE_INL_H_
#else
#define OSTINATO_DEVICE_CPU_KERNELS_REDUCE_INL_H_
#endif

#include <limits>

#include "ostinato/device/cpu/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ostinato::cpu::HWY_NAMESPACE {

/// Folds the lanes of a row with `Fold::step(accumulator, x)` from `Fold::start()`, in four chains
/// so that none waits for the other; `Fold::join` joins two chains.
template <class Fold, typename T>
HWY_INLINE VecF fold_row(const Fold& fold, const T* x, int64_t count) {
  const int64_t step = static_cast<int64_t>(lanes());
  VecF a = fold.start(), b = a, c = a, d = a;
  int64_t i = 0;
  for (; i + 4 * step <= count; i += 4 * step) {
    a = fold.step(a, load(x + i));
    b = fold.step(b, load(x + i + step));
    c = fold.step(c, load(x + i + 2 * step));
    d = fold.step(d, load(x + i + 3 * step));
  }
  for (; i + step <= count; i += step) a = fold.step(a, load(x + i));
  if (i < count) {
    const size_t rest = static_cast<size_t>(count - i);
    b = first_n(fold.step(b, load_n(x + i, rest)), rest, b);
  }
  return fold.join(fold.join(a, b), fold.join(c, d));
}

struct Sum {
  HWY_INLINE VecF start() const { return zero(); }
  HWY_INLINE VecF step(VecF a, VecF x) const { return hn::Add(a, x); }
  HWY_INLINE VecF join(VecF a, VecF b) const { return hn::Add(a, b); }
};

/// Σ x²
struct SumOfSquares : Sum {
  HWY_INLINE VecF step(VecF a, VecF x) const { return hn::MulAdd(x, x, a); }
};

/// Σ (x − mean)²
struct SumOfDeviations : Sum {
  VecF mean;
  HWY_INLINE explicit SumOfDeviations(VecF value) : mean(value) {}
  HWY_INLINE VecF step(VecF a, VecF x) const {
    const VecF deviation = hn::Sub(x, mean);
    return hn::MulAdd(deviation, deviation, a);
  }
};

/// The maximum of all but NaN.
struct PlainMax {
  HWY_INLINE VecF start() const { return set(-std::numeric_limits<float>::infinity()); }
  HWY_INLINE VecF step(VecF a, VecF x) const { return hn::Max(x, a); }
  HWY_INLINE VecF join(VecF a, VecF b) const { return hn::Max(a, b); }
};

template <typename T>
HWY_INLINE float row_max(const T* x, int64_t count) {
  return max_of_lanes(fold_row(PlainMax(), x, count));
}

}  // namespace ostinato::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // OSTINATO_DEVICE_CPU_KERNELS_REDUCE_INL_H_
