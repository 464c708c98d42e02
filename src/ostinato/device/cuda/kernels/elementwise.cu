#include "ostinato/device/cuda/kernels/functions.cuh"

namespace ostinato::cuda {

namespace {

constexpr int kThreads = 256;

template <typename T>
__device__ T scalar_of(const ElementwiseSource& source);
template <>
__device__ float scalar_of<float>(const ElementwiseSource& source) {
  return static_cast<float>(source.real);
}
template <>
__device__ int64_t scalar_of<int64_t>(const ElementwiseSource& source) {
  return source.integer;
}

/// The value as the type that is computed in has it.
__device__ inline float as_computed(float value, const ElementwiseSource& source) {
  return source.rounds != 0 ? rounded(value, source.computed) : value;
}
__device__ inline int64_t as_computed(int64_t value, const ElementwiseSource& source) {
  if (source.rounds == 0) return value;
  if (source.computed == Type::int32) return static_cast<int32_t>(value);
  if (source.computed == Type::uint8) return static_cast<uint8_t>(value);
  return source.computed == Type::boolean ? value != 0 : value;
}

template <typename T, int sources, typename Op>
__device__ void strided(const Operands& operands, const ElementwiseParams& params, int64_t first,
                        int64_t last, int64_t step) {
  const Extra extra{params.extra, params.extra_integers, &operands.node, operands.fault};
  for (int64_t i = first; i < last; i += step) {
    int64_t at[kMaxSources] = {}, to = 0;
    // Most tensors have fewer than 2^31 elements, and divisions of 32 bits are several times
    // faster.
    if (params.count <= 0x7fffffff) {
      auto rest = static_cast<uint32_t>(i);
      for (int d = params.dims - 1; d >= 0; --d) {
        const auto size = static_cast<uint32_t>(params.sizes[d]);
        const uint32_t index = rest % size;
        rest /= size;
        OSTINATO_UNROLL
        for (int k = 0; k < sources; ++k) at[k] += index * params.sources[k].strides[d];
        to += index * params.result_strides[d];
      }
    } else {
      int64_t rest = i;
      for (int d = params.dims - 1; d >= 0; --d) {
        const int64_t index = rest % params.sizes[d];
        rest /= params.sizes[d];
        OSTINATO_UNROLL
        for (int k = 0; k < sources; ++k) at[k] += index * params.sources[k].strides[d];
        to += index * params.result_strides[d];
      }
    }
    T values[kMaxSources] = {};
    OSTINATO_UNROLL
    for (int k = 0; k < sources; ++k) {
      const ElementwiseSource& source = params.sources[k];
      values[k] = source.slot < 0
                      ? scalar_of<T>(source)
                      : as_computed(load<T>(operands.at[source.slot], at[k], source.type), source);
    }
    store(operands.at[params.result_slot], to, params.result, static_cast<T>(Op()(values, extra)));
  }
}

template <typename T, int sources, typename Op>
__device__ void elementwise(const Operands& operands, const ElementwiseParams& params) {
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t threads = static_cast<int64_t>(gridDim.x) * blockDim.x;
  bool side_by_side = params.dims == 1 && params.result_strides[0] == 1 &&
                      is_aligned(operands.at[params.result_slot]);
  OSTINATO_UNROLL
  for (int k = 0; k < sources; ++k) {
    const ElementwiseSource& source = params.sources[k];
    const bool is_run = source.slot < 0 || source.strides[0] == 0 ||
                        (source.strides[0] == 1 && is_aligned(operands.at[source.slot]));
    side_by_side = side_by_side && is_run;
  }
  if (!side_by_side) {
    return strided<T, sources, Op>(operands, params, thread, params.count, threads);
  }
  const Extra extra{params.extra, params.extra_integers, &operands.node, operands.fault};
  const int64_t whole = params.count / kAtOnce * kAtOnce;
  for (int64_t i = thread * kAtOnce; i < whole; i += threads * kAtOnce) {
    T values[kMaxSources][kAtOnce] = {};
    OSTINATO_UNROLL
    for (int k = 0; k < sources; ++k) {
      const ElementwiseSource& source = params.sources[k];
      if (source.slot >= 0 && source.strides[0] == 1) {
        load_four(operands.at[source.slot], i, source.type, values[k]);
      } else {
        const T value = source.slot < 0 ? scalar_of<T>(source)
                                        : load<T>(operands.at[source.slot], 0, source.type);
        OSTINATO_UNROLL
        for (int j = 0; j < kAtOnce; ++j) values[k][j] = value;
      }
      if (source.slot < 0) continue;
      OSTINATO_UNROLL
      for (int j = 0; j < kAtOnce; ++j) values[k][j] = as_computed(values[k][j], source);
    }
    T results[kAtOnce];
    OSTINATO_UNROLL
    for (int j = 0; j < kAtOnce; ++j) {
      const T column[kMaxSources] = {values[0][j], values[1][j], values[2][j]};
      results[j] = static_cast<T>(Op()(column, extra));
    }
    store_four(operands.at[params.result_slot], i, params.result, results);
  }
  strided<T, sources, Op>(operands, params, whole + thread, params.count, threads);
}

}  // namespace

#define OSTINATO_REAL_KERNEL(name, sources, Op)               \
  OSTINATO_KERNEL(name##_real, kThreads, ElementwiseParams) { \
    elementwise<float, sources, Op>(operands, params);        \
  }
#define OSTINATO_INTEGER_KERNEL(name, sources, Op)               \
  OSTINATO_KERNEL(name##_integer, kThreads, ElementwiseParams) { \
    elementwise<int64_t, sources, Op>(operands, params);         \
  }
#define OSTINATO_BOTH_KERNELS(name, sources, Op) \
  OSTINATO_REAL_KERNEL(name, sources, Op)        \
  OSTINATO_INTEGER_KERNEL(name, sources, Op)

OSTINATO_REAL_KERNEL(acos, 1, Acos)
OSTINATO_REAL_KERNEL(acosh, 1, Acosh)
OSTINATO_REAL_KERNEL(asin, 1, Asin)
OSTINATO_REAL_KERNEL(asinh, 1, Asinh)
OSTINATO_REAL_KERNEL(atan, 1, Atan)
OSTINATO_REAL_KERNEL(atanh, 1, Atanh)
OSTINATO_REAL_KERNEL(cos, 1, Cos)
OSTINATO_REAL_KERNEL(cosh, 1, Cosh)
OSTINATO_REAL_KERNEL(elu, 1, Elu)
OSTINATO_REAL_KERNEL(erf, 1, Erf)
OSTINATO_REAL_KERNEL(exp, 1, Exp)
OSTINATO_REAL_KERNEL(expm1, 1, Expm1)
OSTINATO_REAL_KERNEL(gelu_erf, 1, GeluErf)
OSTINATO_REAL_KERNEL(gelu_tanh, 1, GeluTanh)
OSTINATO_REAL_KERNEL(hardsigmoid, 1, Hardsigmoid)
OSTINATO_REAL_KERNEL(hardswish, 1, Hardswish)
OSTINATO_REAL_KERNEL(isinf, 1, IsInf)
OSTINATO_REAL_KERNEL(isnan, 1, IsNan)
OSTINATO_REAL_KERNEL(leaky_relu, 1, LeakyRelu)
OSTINATO_REAL_KERNEL(log, 1, Log)
OSTINATO_REAL_KERNEL(log10, 1, Log10)
OSTINATO_REAL_KERNEL(log1p, 1, Log1p)
OSTINATO_REAL_KERNEL(log2, 1, Log2)
OSTINATO_REAL_KERNEL(mish, 1, Mish)
OSTINATO_REAL_KERNEL(reciprocal, 1, Reciprocal)
OSTINATO_REAL_KERNEL(rsqrt, 1, Rsqrt)
OSTINATO_REAL_KERNEL(sigmoid, 1, Sigmoid)
OSTINATO_REAL_KERNEL(silu, 1, Silu)
OSTINATO_REAL_KERNEL(sin, 1, Sin)
OSTINATO_REAL_KERNEL(sinh, 1, Sinh)
OSTINATO_REAL_KERNEL(softplus, 1, Softplus)
OSTINATO_REAL_KERNEL(sqrt, 1, Sqrt)
OSTINATO_REAL_KERNEL(tan, 1, Tan)
OSTINATO_REAL_KERNEL(tanh, 1, Tanh)
OSTINATO_BOTH_KERNELS(abs, 1, Abs)
OSTINATO_BOTH_KERNELS(ceil, 1, Ceil)
OSTINATO_BOTH_KERNELS(clamp, 1, Clamp)
OSTINATO_BOTH_KERNELS(copy, 1, Copy)
OSTINATO_BOTH_KERNELS(floor, 1, Floor)
OSTINATO_BOTH_KERNELS(logical_not, 1, LogicalNot)
OSTINATO_BOTH_KERNELS(neg, 1, Neg)
OSTINATO_BOTH_KERNELS(relu, 1, Relu)
OSTINATO_BOTH_KERNELS(round, 1, Round)
OSTINATO_BOTH_KERNELS(sign, 1, Sign)
OSTINATO_BOTH_KERNELS(trunc, 1, Trunc)
OSTINATO_INTEGER_KERNEL(bitwise_not, 1, Not)

OSTINATO_REAL_KERNEL(atan2, 2, Atan2)
OSTINATO_REAL_KERNEL(div, 2, Divide)
OSTINATO_REAL_KERNEL(swiglu, 2, Swiglu)
OSTINATO_BOTH_KERNELS(add, 2, Add)
OSTINATO_BOTH_KERNELS(div_floor, 2, Division<Floored>)
OSTINATO_BOTH_KERNELS(div_trunc, 2, Division<Truncated>)
OSTINATO_BOTH_KERNELS(eq, 2, Equal)
OSTINATO_BOTH_KERNELS(fmod, 2, Division<Fmod>)
OSTINATO_BOTH_KERNELS(ge, 2, GreaterEqual)
OSTINATO_BOTH_KERNELS(gt, 2, Greater)
OSTINATO_BOTH_KERNELS(le, 2, LessEqual)
OSTINATO_BOTH_KERNELS(logical_and, 2, LogicalAnd)
OSTINATO_BOTH_KERNELS(logical_or, 2, LogicalOr)
OSTINATO_BOTH_KERNELS(logical_xor, 2, LogicalXor)
OSTINATO_BOTH_KERNELS(lt, 2, Less)
OSTINATO_BOTH_KERNELS(maximum, 2, Maximum)
OSTINATO_BOTH_KERNELS(minimum, 2, Minimum)
OSTINATO_BOTH_KERNELS(mul, 2, Multiply)
OSTINATO_BOTH_KERNELS(ne, 2, NotEqual)
OSTINATO_BOTH_KERNELS(pow, 2, Power)
OSTINATO_BOTH_KERNELS(remainder, 2, Division<Remainder>)
OSTINATO_INTEGER_KERNEL(bitwise_and, 2, And)
OSTINATO_INTEGER_KERNEL(bitwise_or, 2, Or)
OSTINATO_INTEGER_KERNEL(bitwise_xor, 2, Xor)

OSTINATO_BOTH_KERNELS(clamp_tensors, 3, ClampTensors)
OSTINATO_BOTH_KERNELS(where, 3, Where)

}  // namespace ostinato::cuda
