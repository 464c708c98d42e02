// Row functions from functors. A functor has `of(params, x…)` on vectors of fp32, `value(params,
// x…)` on single integers, or both. Included once a target, hence the guard that toggles.
#if defined(OSTINATO_DEVICE_CPU_KERNELS_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef OSTINATO_DEVICE_CPU_KERNELS_ROWS_INL_H_
#undef OSTINATO_DEVICE_CPU_KERNELS_ROWS_INL_H_
#else
#define OSTINATO_DEVICE_CPU_KERNELS_ROWS_INL_H_
#endif

#include "ostinato/device/cpu/kernels/elementwise.h"
#include "ostinato/device/cpu/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ostinato::cpu::HWY_NAMESPACE {

template <class Op, typename In, typename Out>
void unary_row(const Params& given, const void* const* inputs, void* output, int64_t count) {
  const Params params = given;  // a local cannot alias the output
  const In* x = static_cast<const In*>(inputs[0]);
  Out* y = static_cast<Out*>(output);
  const int64_t step = static_cast<int64_t>(lanes());
  int64_t i = 0;
  for (; i + step <= count; i += step) store(Op::of(params, load(x + i)), y + i);
  if (i < count) {
    const size_t rest = static_cast<size_t>(count - i);
    store_n(Op::of(params, load_n(x + i, rest)), y + i, rest);
  }
}

template <class Op, typename In, typename Out, Broadcast broadcast>
void binary_row(const Params& given, const void* const* inputs, void* output, int64_t count) {
  const Params params = given;
  const In* a = static_cast<const In*>(inputs[0]);
  const In* b = static_cast<const In*>(inputs[1]);
  Out* y = static_cast<Out*>(output);
  const int64_t step = static_cast<int64_t>(lanes());
  VecF left = set(broadcast == Broadcast::first ? to_float(*a) : 0);
  VecF right = set(broadcast == Broadcast::last ? to_float(*b) : 0);
  int64_t i = 0;
  for (; i + step <= count; i += step) {
    if (broadcast != Broadcast::first) left = load(a + i);
    if (broadcast != Broadcast::last) right = load(b + i);
    store(Op::of(params, left, right), y + i);
  }
  if (i < count) {
    const size_t rest = static_cast<size_t>(count - i);
    if (broadcast != Broadcast::first) left = load_n(a + i, rest);
    if (broadcast != Broadcast::last) right = load_n(b + i, rest);
    store_n(Op::of(params, left, right), y + i, rest);
  }
}

template <class Op, typename T>
void ternary_row(const Params& given, const void* const* inputs, void* output, int64_t count) {
  const Params params = given;
  const T* a = static_cast<const T*>(inputs[0]);
  const T* b = static_cast<const T*>(inputs[1]);
  const T* c = static_cast<const T*>(inputs[2]);
  T* y = static_cast<T*>(output);
  if constexpr (is_floating_v<T>) {
    const int64_t step = static_cast<int64_t>(lanes());
    int64_t i = 0;
    for (; i + step <= count; i += step) {
      store(Op::of(params, load(a + i), load(b + i), load(c + i)), y + i);
    }
    if (i < count) {
      const size_t n = static_cast<size_t>(count - i);
      store_n(Op::of(params, load_n(a + i, n), load_n(b + i, n), load_n(c + i, n)), y + i, n);
    }
  } else {
    for (int64_t i = 0; i < count; ++i) y[i] = Op::value(params, a[i], b[i], c[i]);
  }
}

// Plain loops over integers, which the compiler vectorises for the target.
template <class Op, typename In, typename Out>
void unary_values(const Params& given, const void* const* inputs, void* output, int64_t count) {
  const Params params = given;
  const In* x = static_cast<const In*>(inputs[0]);
  Out* y = static_cast<Out*>(output);
  for (int64_t i = 0; i < count; ++i) y[i] = static_cast<Out>(Op::value(params, x[i]));
}

template <class Op, typename In, typename Out, Broadcast broadcast>
void binary_values(const Params& given, const void* const* inputs, void* output, int64_t count) {
  const Params params = given;
  const In* a = static_cast<const In*>(inputs[0]);
  const In* b = static_cast<const In*>(inputs[1]);
  Out* y = static_cast<Out*>(output);
  const In first = *a, last = *b;
  for (int64_t i = 0; i < count; ++i) {
    const In left = broadcast == Broadcast::first ? first : a[i];
    const In right = broadcast == Broadcast::last ? last : b[i];
    y[i] = static_cast<Out>(Op::value(params, left, right));
  }
}

template <class Op, typename In, typename Out>
constexpr std::array<RowFunction, 3> unary() {
  if constexpr (is_floating_v<In>) {
    return {unary_row<Op, In, Out>, nullptr, nullptr};
  } else {
    return {unary_values<Op, In, Out>, nullptr, nullptr};
  }
}

template <class Op, typename In, typename Out>
constexpr std::array<RowFunction, 3> binary() {
  if constexpr (is_floating_v<In>) {
    return {binary_row<Op, In, Out, Broadcast::none>, binary_row<Op, In, Out, Broadcast::last>,
            binary_row<Op, In, Out, Broadcast::first>};
  } else {
    return {binary_values<Op, In, Out, Broadcast::none>,
            binary_values<Op, In, Out, Broadcast::last>,
            binary_values<Op, In, Out, Broadcast::first>};
  }
}

/// `to` in the dtype it came from, or a bool from a predicate.
template <bool predicate, typename T>
using Result = std::conditional_t<predicate, bool, T>;

/// The floating dtypes and those listed.
template <class Op, bool predicate = false, typename... Integers>
RowFunctions unary_rows() {
  RowFunctions rows;
  rows.of(DType::float32) = unary<Op, float, Result<predicate, float>>();
  rows.of(DType::bfloat16) = unary<Op, bfloat16, Result<predicate, bfloat16>>();
  rows.of(DType::float16) = unary<Op, float16, Result<predicate, float16>>();
  ((rows.of(dtype_v<Integers>) = unary<Op, Integers, Result<predicate, Integers>>()), ...);
  return rows;
}

template <class Op, bool predicate = false, typename... Integers>
RowFunctions binary_rows() {
  RowFunctions rows;
  rows.of(DType::float32) = binary<Op, float, Result<predicate, float>>();
  rows.of(DType::bfloat16) = binary<Op, bfloat16, Result<predicate, bfloat16>>();
  rows.of(DType::float16) = binary<Op, float16, Result<predicate, float16>>();
  ((rows.of(dtype_v<Integers>) = binary<Op, Integers, Result<predicate, Integers>>()), ...);
  return rows;
}

template <class Op, typename... Integers>
RowFunctions ternary_rows() {
  RowFunctions rows;
  rows.of(DType::float32)[0] = ternary_row<Op, float>;
  rows.of(DType::bfloat16)[0] = ternary_row<Op, bfloat16>;
  rows.of(DType::float16)[0] = ternary_row<Op, float16>;
  ((rows.of(dtype_v<Integers>)[0] = ternary_row<Op, Integers>), ...);
  return rows;
}

/// Integers only, for bitwise operators.
template <class Op>
RowFunctions bitwise_not_rows() {
  RowFunctions rows;
  rows.of(DType::int64) = unary<Op, int64_t, int64_t>();
  rows.of(DType::boolean) = unary<Op, bool, bool>();
  return rows;
}
template <class Op>
RowFunctions bitwise_rows() {
  RowFunctions rows;
  rows.of(DType::int64) = binary<Op, int64_t, int64_t>();
  rows.of(DType::boolean) = binary<Op, bool, bool>();
  return rows;
}

/// A functor of two operands with the scalar in `a` and `i` as its second.
template <class Op>
struct Scalar {
  static HWY_INLINE VecF of(const Params& params, VecF x) {
    return Op::of(params, x, set(params.a));
  }
  template <typename T>
  static auto value(const Params& params, T x) {
    return Op::value(params, x, static_cast<T>(params.i));
  }
};

/// The same with the scalar as its first.
template <class Op>
struct ScalarFirst {
  static HWY_INLINE VecF of(const Params& params, VecF x) {
    return Op::of(params, set(params.a), x);
  }
  template <typename T>
  static auto value(const Params& params, T x) {
    return Op::value(params, static_cast<T>(params.i), x);
  }
};

template <class Op>
RowFunctions bitwise_scalar_rows() {
  return bitwise_not_rows<Scalar<Op>>();
}

}  // namespace ostinato::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // OSTINATO_DEVICE_CPU_KERNELS_ROWS_INL_H_
