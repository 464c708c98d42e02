#pragma once

#include "ostinato/device/cuda/kernels/operands.h"

namespace ostinato::cuda {

inline constexpr int kMaxSources = 3;

// What elementwise kernels compute of real numbers, of integers, and of both: the function's name,
// how many values it takes, and its type in functions.cuh.
#define OSTINATO_COMMON_FUNCTIONS(X)   \
  X(abs, 1, Abs)                       \
  X(ceil, 1, Ceil)                     \
  X(clamp, 1, Clamp)                   \
  X(copy, 1, Copy)                     \
  X(floor, 1, Floor)                   \
  X(logical_not, 1, LogicalNot)        \
  X(neg, 1, Neg)                       \
  X(relu, 1, Relu)                     \
  X(round, 1, Round)                   \
  X(sign, 1, Sign)                     \
  X(trunc, 1, Trunc)                   \
  X(add, 2, Add)                       \
  X(div_floor, 2, Division<Floored>)   \
  X(div_trunc, 2, Division<Truncated>) \
  X(eq, 2, Equal)                      \
  X(fmod, 2, Division<Fmod>)           \
  X(ge, 2, GreaterEqual)               \
  X(gt, 2, Greater)                    \
  X(le, 2, LessEqual)                  \
  X(logical_and, 2, LogicalAnd)        \
  X(logical_or, 2, LogicalOr)          \
  X(logical_xor, 2, LogicalXor)        \
  X(lt, 2, Less)                       \
  X(maximum, 2, Maximum)               \
  X(minimum, 2, Minimum)               \
  X(mul, 2, Multiply)                  \
  X(ne, 2, NotEqual)                   \
  X(pow, 2, Power)                     \
  X(remainder, 2, Division<Remainder>) \
  X(clamp_tensors, 3, ClampTensors)    \
  X(where, 3, Where)
#define OSTINATO_REAL_FUNCTIONS(X) \
  X(acos, 1, Acos)                 \
  X(acosh, 1, Acosh)               \
  X(asin, 1, Asin)                 \
  X(asinh, 1, Asinh)               \
  X(atan, 1, Atan)                 \
  X(atanh, 1, Atanh)               \
  X(cos, 1, Cos)                   \
  X(cosh, 1, Cosh)                 \
  X(elu, 1, Elu)                   \
  X(erf, 1, Erf)                   \
  X(exp, 1, Exp)                   \
  X(expm1, 1, Expm1)               \
  X(gelu_erf, 1, GeluErf)          \
  X(gelu_tanh, 1, GeluTanh)        \
  X(hardsigmoid, 1, Hardsigmoid)   \
  X(hardswish, 1, Hardswish)       \
  X(isinf, 1, IsInf)               \
  X(isnan, 1, IsNan)               \
  X(leaky_relu, 1, LeakyRelu)      \
  X(log, 1, Log)                   \
  X(log10, 1, Log10)               \
  X(log1p, 1, Log1p)               \
  X(log2, 1, Log2)                 \
  X(mish, 1, Mish)                 \
  X(reciprocal, 1, Reciprocal)     \
  X(rsqrt, 1, Rsqrt)               \
  X(sigmoid, 1, Sigmoid)           \
  X(silu, 1, Silu)                 \
  X(sin, 1, Sin)                   \
  X(sinh, 1, Sinh)                 \
  X(softplus, 1, Softplus)         \
  X(sqrt, 1, Sqrt)                 \
  X(tan, 1, Tan)                   \
  X(tanh, 1, Tanh)                 \
  X(atan2, 2, Atan2)               \
  X(div, 2, Divide)                \
  X(swiglu, 2, Swiglu)             \
  OSTINATO_COMMON_FUNCTIONS(X)
#define OSTINATO_INTEGER_FUNCTIONS(X) \
  X(bitwise_not, 1, Not)              \
  X(bitwise_and, 2, And)              \
  X(bitwise_or, 2, Or)                \
  X(bitwise_xor, 2, Xor)              \
  OSTINATO_COMMON_FUNCTIONS(X)

#define OSTINATO_FUNCTION_NAME(name, sources, Op) name,
enum class RealFunction : int32_t { OSTINATO_REAL_FUNCTIONS(OSTINATO_FUNCTION_NAME) };
enum class IntegerFunction : int32_t { OSTINATO_INTEGER_FUNCTIONS(OSTINATO_FUNCTION_NAME) };
#undef OSTINATO_FUNCTION_NAME

/// One operand of an elementwise kernel.
struct ElementwiseSource {
  int64_t strides[kMaxDims];  ///< in elements; zero where it is broadcast
  double real;                ///< of a scalar, as the operator takes it
  int64_t integer;
  Type type;
  int32_t slot;   ///< in the operands; below zero for a scalar
  Type computed;  ///< what it is rounded to first, if `rounds`
  int32_t rounds;
};

/// `sources` → one result, whose slot comes after theirs.
struct ElementwiseParams {
  int64_t count;
  int64_t sizes[kMaxDims];
  int64_t result_strides[kMaxDims];
  ElementwiseSource sources[kMaxSources];
  double extra[3];  ///< the operator's own numbers, such as alpha
  int64_t extra_integers[3];
  int32_t dims;  ///< 1 with strides of one or zero: read four at a time
  int32_t result_slot;
  Type result;
};

inline constexpr int kMostCalls = 12;
inline constexpr int kMostTensors = 8;

/// What a call of a program reads: a value, or a scalar.
struct ProgramSource {
  double real;
  int64_t integer;
  int32_t value;  ///< of the tensors, then of the calls; below zero for a scalar
  Type type;      ///< of the value
  int32_t rounds;
};

struct ProgramCall {
  ProgramSource sources[kMaxSources];
  double extra[3];
  int64_t extra_integers[3];
  int32_t function;  ///< a RealFunction, or an IntegerFunction
  int32_t is_real;
  Type computed, result;
};

/// Connected elementwise calls, whose values have all the result's sizes. Operands: the tensors,
/// then the result, which lies side by side.
struct ProgramParams {
  int64_t count;
  int64_t sizes[kMaxDims];
  int64_t strides[kMostTensors][kMaxDims];
  Type types[kMostTensors];
  ProgramCall calls[kMostCalls];
  int32_t dims, tensor_count, call_count;
};

}  // namespace ostinato::cuda
