#pragma once

#include "ostinato/device/cuda/kernels/elementwise.h"
#include "ostinato/device/cuda/kernels/prelude.cuh"

/// What elementwise kernels compute of one element: the same functions as the reference kernels of
/// the CPU (device/cpu/reference), which the tests hold them to. Each takes up to three values and
/// the operator's own numbers, as float or as int64_t.
namespace ostinato::cuda {

struct Extra {
  const double* reals;
  const int64_t* integers;
  const void* const* node;  ///< to say that an operand is bad
  const void** fault;
};

template <typename T>
__device__ inline T larger(T a, T b) {
  return a > b || a != a ? a : b;
}
template <typename T>
__device__ inline T smaller(T a, T b) {
  return a < b || a != a ? a : b;
}
__device__ inline int64_t wrapping_add(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}
__device__ inline int64_t wrapping_multiply(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}

// Functions of one real number.
#define OSTINATO_REAL(Name, expression)                                 \
  struct Name {                                                         \
    __device__ float operator()(const float* v, const Extra& e) const { \
      const float x = v[0];                                             \
      (void)e;                                                          \
      return expression;                                                \
    }                                                                   \
  };
OSTINATO_REAL(Acos, acosf(x))
OSTINATO_REAL(Acosh, acoshf(x))
OSTINATO_REAL(Asin, asinf(x))
OSTINATO_REAL(Asinh, asinhf(x))
OSTINATO_REAL(Atan, atanf(x))
OSTINATO_REAL(Atanh, atanhf(x))
OSTINATO_REAL(Cos, cosf(x))
OSTINATO_REAL(Cosh, coshf(x))
OSTINATO_REAL(Erf, erff(x))
OSTINATO_REAL(Exp, expf(x))
OSTINATO_REAL(Expm1, expm1f(x))
OSTINATO_REAL(Log, logf(x))
OSTINATO_REAL(Log10, log10f(x))
OSTINATO_REAL(Log1p, log1pf(x))
OSTINATO_REAL(Log2, log2f(x))
OSTINATO_REAL(Reciprocal, 1 / x)
OSTINATO_REAL(Rsqrt, 1 / sqrtf(x))
OSTINATO_REAL(Sigmoid, 1 / (1 + expf(-x)))
OSTINATO_REAL(Silu, x / (1 + expf(-x)))
OSTINATO_REAL(Mish, x* tanhf(log1pf(expf(x))))
OSTINATO_REAL(Hardsigmoid, smaller(larger(x + 3, 0.0f), 6.0f) / 6)
OSTINATO_REAL(Hardswish, x* smaller(larger(x + 3, 0.0f), 6.0f) / 6)
OSTINATO_REAL(Sin, sinf(x))
OSTINATO_REAL(Sinh, sinhf(x))
OSTINATO_REAL(Sqrt, sqrtf(x))
OSTINATO_REAL(Tan, tanf(x))
OSTINATO_REAL(Tanh, tanhf(x))
OSTINATO_REAL(GeluErf, x * 0.5f * (1 + erff(x * 0.70710678118654752f)))
OSTINATO_REAL(GeluTanh, 0.5f * x * (1 + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x))))
OSTINATO_REAL(LeakyRelu, x > 0 ? x : x * static_cast<float>(e.reals[0]))
OSTINATO_REAL(Elu, x > 0 ? x * static_cast<float>(e.reals[1])
                         : expm1f(x * static_cast<float>(e.reals[2])) *
                               (static_cast<float>(e.reals[0]) * static_cast<float>(e.reals[1])))
OSTINATO_REAL(Softplus, x* static_cast<float>(e.reals[0]) > static_cast<float>(e.reals[1])
                            ? x
                            : log1pf(expf(x * static_cast<float>(e.reals[0]))) /
                                  static_cast<float>(e.reals[0]))
#undef OSTINATO_REAL

// Functions of one number of either kind: for reals, then for integers.
#define OSTINATO_NUMBER(Name, real, integral)                               \
  struct Name {                                                             \
    __device__ float operator()(const float* v, const Extra& e) const {     \
      const float x = v[0], y = v[1], z = v[2];                             \
      (void)x, (void)y, (void)z, (void)e;                                   \
      return real;                                                          \
    }                                                                       \
    __device__ int64_t operator()(const int64_t* v, const Extra& e) const { \
      const int64_t x = v[0], y = v[1], z = v[2];                           \
      (void)x, (void)y, (void)z, (void)e;                                   \
      return integral;                                                      \
    }                                                                       \
  };
OSTINATO_NUMBER(Copy, x, x)
OSTINATO_NUMBER(Neg, -x, wrapping_multiply(x, -1))
OSTINATO_NUMBER(Abs, fabsf(x), x < 0 ? wrapping_multiply(x, -1) : x)
OSTINATO_NUMBER(Ceil, ceilf(x), x)
OSTINATO_NUMBER(Floor, floorf(x), x)
OSTINATO_NUMBER(Round, nearbyintf(x), x)
OSTINATO_NUMBER(Trunc, truncf(x), x)
OSTINATO_NUMBER(Relu, larger(x, 0.0f), larger(x, int64_t{0}))
OSTINATO_NUMBER(Sign, static_cast<float>((x > 0) - (x < 0)), (x > 0) - (x < 0))
OSTINATO_NUMBER(IsInf, isinf(x), 0)
OSTINATO_NUMBER(IsNan, isnan(x), 0)
OSTINATO_NUMBER(LogicalNot, x == 0, x == 0)
OSTINATO_NUMBER(Clamp,
                smaller(larger(x, static_cast<float>(e.reals[0])), static_cast<float>(e.reals[1])),
                smaller(larger(x, e.integers[0]), e.integers[1]))

// Of two or three.
OSTINATO_NUMBER(Add, x + static_cast<float>(e.reals[0]) * y,
                wrapping_add(x, wrapping_multiply(e.integers[0], y)))
OSTINATO_NUMBER(Multiply, x* y, wrapping_multiply(x, y))
OSTINATO_NUMBER(Maximum, larger(x, y), larger(x, y))
OSTINATO_NUMBER(Minimum, smaller(x, y), smaller(x, y))
OSTINATO_NUMBER(Equal, x == y, x == y)
OSTINATO_NUMBER(NotEqual, x != y, x != y)
OSTINATO_NUMBER(Less, x < y, x < y)
OSTINATO_NUMBER(LessEqual, x <= y, x <= y)
OSTINATO_NUMBER(Greater, x > y, x > y)
OSTINATO_NUMBER(GreaterEqual, x >= y, x >= y)
OSTINATO_NUMBER(LogicalAnd, x != 0 && y != 0, x != 0 && y != 0)
OSTINATO_NUMBER(LogicalOr, x != 0 || y != 0, x != 0 || y != 0)
OSTINATO_NUMBER(LogicalXor, (x != 0) != (y != 0), (x != 0) != (y != 0))
OSTINATO_NUMBER(Where, x != 0 ? y : z, x != 0 ? y : z)
OSTINATO_NUMBER(ClampTensors, smaller(larger(x, y), z), smaller(larger(x, y), z))
#undef OSTINATO_NUMBER

// Of reals alone, and of integers alone.
struct Divide {
  __device__ float operator()(const float* v, const Extra&) const { return v[0] / v[1]; }
};
struct Atan2 {
  __device__ float operator()(const float* v, const Extra&) const { return atan2f(v[0], v[1]); }
};
struct Power {
  __device__ float operator()(const float* v, const Extra&) const { return powf(v[0], v[1]); }
  __device__ int64_t operator()(const int64_t* v, const Extra&) const {
    int64_t base = v[0], exponent = v[1];
    if (exponent < 0) {  // what the truncated reciprocal is
      if (base == -1) return exponent % 2 == 0 ? 1 : -1;
      return base == 1 ? 1 : 0;
    }
    int64_t result = 1;
    for (; exponent > 0; exponent /= 2) {
      if (exponent % 2 != 0) result = wrapping_multiply(result, base);
      base = wrapping_multiply(base, base);
    }
    return result;
  }
};
struct Swiglu {
  __device__ float operator()(const float* v, const Extra&) const {
    return v[0] / (1 + expf(-v[0])) * v[1];
  }
};
#define OSTINATO_INTEGER(Name, expression)                                                     \
  struct Name {                                                                                \
    __device__ int64_t operator()(const int64_t* v, const Extra&) const { return expression; } \
  };
OSTINATO_INTEGER(And, v[0] & v[1])
OSTINATO_INTEGER(Or, v[0] | v[1])
OSTINATO_INTEGER(Xor, v[0] ^ v[1])
OSTINATO_INTEGER(Not, ~v[0])
#undef OSTINATO_INTEGER

// Quotients and remainders. Of integers, the divisor is neither 0 nor -1.
struct Truncated {
  __device__ static float of(float a, float b) { return truncf(a / b); }
  __device__ static int64_t of(int64_t a, int64_t b) { return a / b; }
  __device__ static int64_t by_minus_one(int64_t a) { return wrapping_multiply(a, -1); }
};
struct Floored {
  // As Python's float floor division: exact where the rounded quotient would reach the next
  // integer.
  __device__ static float of(float a, float b) {
    if (b == 0) return a / b;
    const float rest = fmodf(a, b);
    float quotient = (a - rest) / b;
    if (rest != 0 && (b < 0) != (rest < 0)) quotient -= 1;
    if (quotient == 0) return copysignf(0.0f, a / b);
    const float floored = floorf(quotient);
    return quotient - floored > 0.5f ? floored + 1 : floored;
  }
  __device__ static int64_t of(int64_t a, int64_t b) {
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
  }
  __device__ static int64_t by_minus_one(int64_t a) { return wrapping_multiply(a, -1); }
};
struct Fmod {  // has the sign of the dividend
  __device__ static float of(float a, float b) { return fmodf(a, b); }
  __device__ static int64_t of(int64_t a, int64_t b) { return a % b; }
  __device__ static int64_t by_minus_one(int64_t) { return 0; }
};
struct Remainder {  // has the sign of the divisor
  template <typename T>
  __device__ static T signed_as(T rest, T b) {
    return rest != 0 && (b < 0) != (rest < 0) ? rest + b : rest;
  }
  __device__ static float of(float a, float b) { return signed_as(fmodf(a, b), b); }
  __device__ static int64_t of(int64_t a, int64_t b) { return signed_as(a % b, b); }
  __device__ static int64_t by_minus_one(int64_t) { return 0; }
};

template <typename Op>
struct Division {
  __device__ float operator()(const float* v, const Extra&) const { return Op::of(v[0], v[1]); }
  __device__ int64_t operator()(const int64_t* v, const Extra& e) const {
    if (v[1] == 0) {
      *e.fault = *e.node;
      return 0;
    }
    return v[1] == -1 ? Op::by_minus_one(v[0]) : Op::of(v[0], v[1]);
  }
};

}  // namespace ostinato::cuda
