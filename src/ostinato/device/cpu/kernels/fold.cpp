#include "ostinato/device/cpu/kernels/fold.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ostinato/device/cpu/kernels/fold.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ostinato/device/cpu/kernels/math-inl.h"
#include "ostinato/device/cpu/kernels/reduce-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ostinato::cpu::HWY_NAMESPACE {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Added to reduce-inl.h's folds: `lanes`, which folds the lanes of a vector.
struct SumFold : Sum {
  HWY_INLINE explicit SumFold(float) {}
  HWY_INLINE float lanes(VecF v) const { return sum_of_lanes(v); }
};
struct SquaresFold : SumFold {
  HWY_INLINE explicit SquaresFold(float parameter) : SumFold(parameter) {}
  HWY_INLINE VecF step(VecF a, VecF x) const { return hn::MulAdd(x, x, a); }
};
struct DeviationsFold : SumOfDeviations {
  HWY_INLINE explicit DeviationsFold(float mean) : SumOfDeviations(set(mean)) {}
  HWY_INLINE float lanes(VecF v) const { return sum_of_lanes(v); }
};
struct AbsolutesFold : SumFold {
  HWY_INLINE explicit AbsolutesFold(float parameter) : SumFold(parameter) {}
  HWY_INLINE VecF step(VecF a, VecF x) const { return hn::Add(a, hn::Abs(x)); }
};
struct NonzerosFold : SumFold {
  HWY_INLINE explicit NonzerosFold(float parameter) : SumFold(parameter) {}
  HWY_INLINE VecF step(VecF a, VecF x) const { return hn::Add(a, nonzero(x)); }
};
struct PowersFold : SumFold {
  float order;
  HWY_INLINE explicit PowersFold(float p) : SumFold(p), order(p) {}
  HWY_INLINE VecF step(VecF a, VecF x) const {
    const float p = order;
    return hn::Add(a, by_lane([p](float v) { return std::pow(v, p); }, hn::Abs(x)));
  }
};

struct ProductFold {
  HWY_INLINE explicit ProductFold(float) {}
  HWY_INLINE VecF start() const { return set(1); }
  HWY_INLINE VecF step(VecF a, VecF x) const { return hn::Mul(a, x); }
  HWY_INLINE VecF join(VecF a, VecF b) const { return hn::Mul(a, b); }
  HWY_INLINE float lanes(VecF v) const {
    float lane[hn::MaxLanes(Floats())], product = 1;
    store(v, lane);
    for (float value : lane) product *= value;
    return product;
  }
};

template <bool greatest, bool absolute>
struct ExtremumFold {
  HWY_INLINE explicit ExtremumFold(float) {}
  HWY_INLINE VecF start() const { return set(greatest ? -kInfinity : kInfinity); }
  HWY_INLINE VecF step(VecF a, VecF x) const { return join(a, absolute ? hn::Abs(x) : x); }
  HWY_INLINE VecF join(VecF a, VecF b) const {
    const VecF best = greatest ? hn::Max(a, b) : hn::Min(a, b);
    return keep_nan(keep_nan(best, b), a);
  }
  HWY_INLINE float lanes(VecF v) const {
    if (!hn::AllFalse(Floats(), hn::IsNaN(v))) return std::numeric_limits<float>::quiet_NaN();
    return greatest ? max_of_lanes(v) : hn::GetLane(hn::MinOfLanes(Floats(), v));
  }
};

template <class F, typename T>
void fold_elements(const void* x, int64_t count, float parameter, Folded& folded) {
  const F fold(parameter);
  const VecF rest = fold_row(fold, static_cast<const T*>(x), count);
  // The value so far joins as one lane among others that change nothing.
  const VecF so_far = first_n(set(folded.real), 1, fold.start());
  folded.real = fold.lanes(fold.join(rest, so_far));
}

template <class F, typename T>
void fold_columns(const void* input, int64_t count, float parameter, float* folded) {
  const F fold(parameter);
  const T* x = static_cast<const T*>(input);
  const int64_t step = static_cast<int64_t>(lanes());
  int64_t i = 0;
  for (; i + step <= count; i += step) {
    store(fold.step(load(folded + i), load(x + i)), folded + i);
  }
  if (i < count) {
    const size_t rest = static_cast<size_t>(count - i);
    store_n(fold.step(load_n(folded + i, rest), load_n(x + i, rest)), folded + i, rest);
  }
}

template <class F>
FoldFunctions functions_of(DType dtype, float start) {
  switch (dtype) {
    case DType::bfloat16: return {{start}, fold_elements<F, bfloat16>, fold_columns<F, bfloat16>};
    case DType::float16: return {{start}, fold_elements<F, float16>, fold_columns<F, float16>};
    default: return {{start}, fold_elements<F, float>, fold_columns<F, float>};
  }
}

FoldFunctions float_functions(Fold fold, DType dtype) {
  switch (fold) {
    case Fold::sum: return functions_of<SumFold>(dtype, 0);
    case Fold::squares: return functions_of<SquaresFold>(dtype, 0);
    case Fold::deviations: return functions_of<DeviationsFold>(dtype, 0);
    case Fold::absolutes: return functions_of<AbsolutesFold>(dtype, 0);
    case Fold::powers: return functions_of<PowersFold>(dtype, 0);
    case Fold::nonzeros: return functions_of<NonzerosFold>(dtype, 0);
    case Fold::product: return functions_of<ProductFold>(dtype, 1);
    case Fold::max: return functions_of<ExtremumFold<true, false>>(dtype, -kInfinity);
    case Fold::min: return functions_of<ExtremumFold<false, false>>(dtype, kInfinity);
    case Fold::max_absolute: return functions_of<ExtremumFold<true, true>>(dtype, -kInfinity);
    case Fold::min_absolute: return functions_of<ExtremumFold<false, true>>(dtype, kInfinity);
    default: return {};
  }
}

}  // namespace ostinato::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ostinato::cpu {

HWY_EXPORT(float_functions);

namespace {

template <typename F>
void fold_integers(const void* x, int64_t count, Folded& folded, F&& f) {
  const int64_t* values = static_cast<const int64_t*>(x);
  for (int64_t i = 0; i < count; ++i) folded.integer = f(folded.integer, values[i]);
}

// Wraps around, as in PyTorch.
void sum_integers(const void* x, int64_t count, float, Folded& folded) {
  fold_integers(x, count, folded, [](int64_t a, int64_t b) {
    return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  });
}
void multiply_integers(const void* x, int64_t count, float, Folded& folded) {
  fold_integers(x, count, folded, [](int64_t a, int64_t b) {
    return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  });
}
void max_integers(const void* x, int64_t count, float, Folded& folded) {
  fold_integers(x, count, folded, [](int64_t a, int64_t b) { return std::max(a, b); });
}
void min_integers(const void* x, int64_t count, float, Folded& folded) {
  fold_integers(x, count, folded, [](int64_t a, int64_t b) { return std::min(a, b); });
}

void any_bools(const void* x, int64_t count, float, Folded& folded) {
  if (std::memchr(x, 1, static_cast<size_t>(count)) != nullptr) folded.integer = 1;
}
void all_bools(const void* x, int64_t count, float, Folded& folded) {
  if (std::memchr(x, 0, static_cast<size_t>(count)) != nullptr) folded.integer = 0;
}

}  // namespace

FoldFunctions fold_functions(Fold fold, DType dtype) {
  if (fold == Fold::any) return {{}, any_bools};
  if (fold == Fold::all) return {{0, 1}, all_bools};
  if (is_floating(dtype)) return HWY_DYNAMIC_DISPATCH(float_functions)(fold, dtype);
  switch (fold) {
    case Fold::sum: return {{}, sum_integers};
    case Fold::product: return {{0, 1}, multiply_integers};
    case Fold::max: return {{0, std::numeric_limits<int64_t>::min()}, max_integers};
    case Fold::min: return {{0, std::numeric_limits<int64_t>::max()}, min_integers};
    default: return {};
  }
}

float Reduction::finish(float folded) const {
  const double scaled = scale == 1 ? folded : folded * scale;
  if (root == 1) return static_cast<float>(scaled);
  if (root == 2) return static_cast<float>(std::sqrt(scaled));
  return static_cast<float>(std::pow(scaled, 1 / root));
}

std::optional<Groups> Groups::make(const device::TensorDesc& x, const std::vector<bool>& reduced,
                                   DType wanted) {
  std::vector<int64_t> kept_sizes, within_sizes;
  Strides kept, within;
  const Strides strides = byte_strides(x);
  for (size_t d = 0; d < reduced.size(); ++d) {
    (reduced[d] ? within_sizes : kept_sizes).push_back(x.sizes()[d]);
    (reduced[d] ? within : kept).push_back(strides[d]);
  }
  const std::optional<Loops> outer = make_loops(kept_sizes, std::span(&kept, 1));
  const std::optional<Loops> inner = make_loops(within_sizes, std::span(&within, 1));
  if (!outer || !inner) return std::nullopt;
  Groups groups;
  groups.kept_ = *outer;
  groups.within_ = *inner;
  groups.element_size_ = static_cast<int64_t>(size_of(x.dtype));
  if (x.dtype != wanted) groups.convert_ = find_convert(x.dtype, wanted);
  return groups;
}

DType fold_dtype(DType input, DType output) {
  if (!is_floating(output)) return DType::int64;
  return is_floating(input) ? input : DType::float32;
}

}  // namespace ostinato::cpu
#endif  // HWY_ONCE
