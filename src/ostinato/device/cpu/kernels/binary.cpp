#include <cmath>
#include <limits>
#include <string>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ostinato/device/cpu/kernels/binary.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ostinato/device/cpu/kernels/elementwise.h"
#include "ostinato/device/cpu/kernels/kernels.h"
#include "ostinato/device/cpu/kernels/math-inl.h"
#include "ostinato/device/cpu/kernels/rows-inl.h"

namespace ostinato::cpu {
namespace {

Params alpha_params(const ir::Node& node);
Params approximate_params(const ir::Node& node);
Params other_params(const ir::Node& node);
Params other_alpha_params(const ir::Node& node);
Params exponent_params(const ir::Node& node);
Params base_params(const ir::Node& node);
Params mode_params(const ir::Node& node);
Params other_mode_params(const ir::Node& node);
Params clamp_params(const ir::Node& node);
Params hardtanh_params(const ir::Node& node);

}  // namespace
}  // namespace ostinato::cpu

HWY_BEFORE_NAMESPACE();
namespace ostinato::cpu::HWY_NAMESPACE {

// How a quotient is rounded.
enum Rounding : int64_t { exact, towards_zero, down };

// Integers wrap around, as in PyTorch.
template <typename T>
HWY_INLINE uint64_t wide(T x) {
  return static_cast<uint64_t>(x);
}

// a + alpha·b; alpha in `b` and `j`
struct Add {
  static HWY_INLINE VecF of(const Params& params, VecF a, VecF b) {
    return hn::MulAdd(b, set(params.b), a);
  }
  template <typename T>
  static T value(const Params& params, T a, T b) {
    return static_cast<T>(wide(a) + wide(b) * wide(params.j));
  }
};
struct Sub {
  static HWY_INLINE VecF of(const Params& params, VecF a, VecF b) {
    return hn::NegMulAdd(b, set(params.b), a);
  }
  template <typename T>
  static T value(const Params& params, T a, T b) {
    return static_cast<T>(wide(a) - wide(b) * wide(params.j));
  }
};

struct Mul {
  static HWY_INLINE VecF of(const Params&, VecF a, VecF b) { return hn::Mul(a, b); }
  template <typename T>
  static T value(const Params&, T a, T b) {
    return static_cast<T>(wide(a) * wide(b));
  }
};

struct Div {
  static HWY_INLINE VecF of(const Params&, VecF a, VecF b) { return hn::Div(a, b); }
};

// Of integers; what is divided by zero, a fault, gives zero.
HWY_INLINE int64_t quotient(int64_t a, int64_t b) {
  return b == -1 ? static_cast<int64_t>(0 - wide(a)) : b == 0 ? 0 : a / b;
}
HWY_INLINE int64_t modulo(int64_t a, int64_t b) { return b == -1 || b == 0 ? 0 : a % b; }

// The quotient rounded as `j` says.
struct DivMode {
  static HWY_INLINE VecF of(const Params& params, VecF a, VecF b) {
    const VecF exact_quotient = hn::Div(a, b);
    if (params.j == exact) return exact_quotient;
    if (params.j == towards_zero) return hn::Trunc(exact_quotient);
    return by_lane(floor_division, a, b);
  }
  template <typename T>
  static T value(const Params& params, T a, T b) {
    const int64_t result = quotient(a, b), rest = modulo(a, b);
    const bool above = params.j == down && rest != 0 && (rest < 0) != (b < 0);
    return static_cast<T>(result - above);
  }
  // From the remainder, as Python does: the rounded quotient may lie above the exact one.
  static float floor_division(float a, float b) {
    if (b == 0) return a / b;
    const float rest = std::fmod(a, b);
    float result = (a - rest) / b;
    if (rest != 0 && (b < 0) != (rest < 0)) result -= 1;
    if (result == 0) return std::copysign(0.0f, a / b);
    const float floor = std::floor(result);
    return result - floor > 0.5f ? floor + 1 : floor;
  }
};

struct Minimum {
  static HWY_INLINE VecF of(const Params&, VecF a, VecF b) {
    return keep_nan(keep_nan(hn::Min(a, b), b), a);
  }
  template <typename T>
  static T value(const Params&, T a, T b) {
    return a < b ? a : b;
  }
};
struct Maximum {
  static HWY_INLINE VecF of(const Params&, VecF a, VecF b) {
    return keep_nan(keep_nan(hn::Max(a, b), b), a);
  }
  template <typename T>
  static T value(const Params&, T a, T b) {
    return a > b ? a : b;
  }
};

// With the dividend's sign.
struct Fmod {
  static HWY_INLINE VecF of(const Params&, VecF a, VecF b) {
    return by_lane([](float x, float y) { return std::fmod(x, y); }, a, b);
  }
  template <typename T>
  static T value(const Params&, T a, T b) {
    return static_cast<T>(modulo(a, b));
  }
};
// With the divisor's sign.
struct Remainder {
  static HWY_INLINE VecF of(const Params&, VecF a, VecF b) {
    const auto f = [](float x, float y) {
      const float rest = std::fmod(x, y);
      return rest != 0 && (y < 0) != (rest < 0) ? rest + y : rest;
    };
    return by_lane(f, a, b);
  }
  template <typename T>
  static T value(const Params&, T a, T b) {
    const int64_t rest = modulo(a, b);
    return static_cast<T>(rest != 0 && (rest < 0) != (b < 0) ? rest + static_cast<int64_t>(b)
                                                             : rest);
  }
};

struct Power {
  static HWY_INLINE VecF of(const Params&, VecF a, VecF b) {
    return by_lane([](float x, float y) { return std::pow(x, y); }, a, b);
  }
  template <typename T>
  static T value(const Params&, T base, T exponent) {
    if (exponent < 0) return base == 1 ? 1 : base == T(-1) ? (exponent % 2 == 0 ? 1 : T(-1)) : 0;
    uint64_t result = 1, factor = wide(base);
    for (uint64_t left = wide(exponent); left != 0; left >>= 1) {
      if ((left & 1) != 0) result *= factor;
      factor *= factor;
    }
    return static_cast<T>(result);
  }
};

struct Atan2 {
  static HWY_INLINE VecF of(const Params&, VecF a, VecF b) {
    return by_lane([](float y, float x) { return std::atan2(y, x); }, a, b);
  }
};

struct BitwiseAnd {
  template <typename T>
  static T value(const Params&, T a, T b) {
    return static_cast<T>(a & b);
  }
};
struct BitwiseOr {
  template <typename T>
  static T value(const Params&, T a, T b) {
    return static_cast<T>(a | b);
  }
};
struct BitwiseXor {
  template <typename T>
  static T value(const Params&, T a, T b) {
    return static_cast<T>(a ^ b);
  }
};

struct LogicalAnd {
  static HWY_INLINE VecF of(const Params&, VecF a, VecF b) {
    return hn::Mul(nonzero(a), nonzero(b));
  }
  template <typename T>
  static bool value(const Params&, T a, T b) {
    return (a != 0) & (b != 0);
  }
};
struct LogicalOr {
  static HWY_INLINE VecF of(const Params&, VecF a, VecF b) {
    return hn::Max(nonzero(a), nonzero(b));
  }
  template <typename T>
  static bool value(const Params&, T a, T b) {
    return (a != 0) | (b != 0);
  }
};
struct LogicalXor {
  static HWY_INLINE VecF of(const Params&, VecF a, VecF b) {
    return hn::Abs(hn::Sub(nonzero(a), nonzero(b)));
  }
  template <typename T>
  static bool value(const Params&, T a, T b) {
    return (a != 0) != (b != 0);
  }
};

// x to the power `a`; models use these few almost always.
struct PowerScalar {
  static HWY_INLINE VecF of(const Params& params, VecF x) {
    if (params.a == 2) return hn::Mul(x, x);
    if (params.a == 3) return hn::Mul(hn::Mul(x, x), x);
    if (params.a == -1) return hn::Div(set(1), x);
    if (params.a == -2) return hn::Div(set(1), hn::Mul(x, x));
    return Power::of(params, x, set(params.a));
  }
  template <typename T>
  static T value(const Params& params, T x) {
    return Power::value(params, x, static_cast<T>(params.i));
  }
};

// Between `a` and `b`, or `i` and `j`; the upper bound wins. `c` is NaN where a bound is, else
// zero.
struct Clamp {
  static HWY_INLINE VecF of(const Params& params, VecF x) {
    const VecF within = hn::Min(hn::Max(x, set(params.a)), set(params.b));
    return keep_nan(within, hn::Add(x, set(params.c)));
  }
  template <typename T>
  static T value(const Params& params, T x) {
    return static_cast<T>(std::min(std::max<int64_t>(x, params.i), params.j));
  }
};

// Between the other operands; the upper bound wins.
struct ClampBetween {
  static HWY_INLINE VecF of(const Params& params, VecF x, VecF low, VecF high) {
    return Minimum::of(params, Maximum::of(params, x, low), high);
  }
  template <typename T>
  static T value(const Params& params, T x, T low, T high) {
    return Minimum::value(params, Maximum::value(params, x, low), high);
  }
};

// silu(gate) · up
struct Swiglu {
  static HWY_INLINE VecF of(const Params&, VecF gate, VecF up) { return hn::Mul(silu(gate), up); }
};

// gelu(gate) · up
struct Geglu {
  static HWY_INLINE VecF of(const Params& params, VecF gate, VecF up) {
    return hn::Mul(params.i != 0 ? gelu_tanh(gate) : gelu_erf(gate), up);
  }
};

ElementwiseOps binary_ops() {
  static const ElementwiseOp ops[] = {
      {"aten.add.Tensor", binary_rows<Add, false, int64_t>(), false, alpha_params, Scalars::round},
      {"aten.sub.Tensor", binary_rows<Sub, false, int64_t>(), false, alpha_params, Scalars::round},
      {"aten.mul.Tensor", binary_rows<Mul, false, int64_t>()},
      {"aten.div.Tensor", binary_rows<Div>()},
      {"aten.div.Tensor_mode", binary_rows<DivMode, false, int64_t>(), false, mode_params,
       Scalars::keep, true},
      {"aten.minimum", binary_rows<Minimum, false, int64_t>(), false, nullptr, Scalars::round},
      {"aten.maximum", binary_rows<Maximum, false, int64_t>(), false, nullptr, Scalars::round},
      {"aten.fmod.Tensor", binary_rows<Fmod, false, int64_t>(), false, nullptr, Scalars::round,
       true},
      {"aten.remainder.Tensor", binary_rows<Remainder, false, int64_t>(), false, nullptr,
       Scalars::round, true},
      {"aten.pow.Tensor_Tensor", binary_rows<Power, false, int64_t>()},
      {"aten.atan2", binary_rows<Atan2>()},
      {"aten.bitwise_and.Tensor", bitwise_rows<BitwiseAnd>()},
      {"aten.bitwise_or.Tensor", bitwise_rows<BitwiseOr>()},
      {"aten.bitwise_xor.Tensor", bitwise_rows<BitwiseXor>()},
      {"aten.logical_and", binary_rows<LogicalAnd, true, bool, int64_t>(), true},
      {"aten.logical_or", binary_rows<LogicalOr, true, bool, int64_t>(), true},
      {"aten.logical_xor", binary_rows<LogicalXor, true, bool, int64_t>(), true},
      {"aten.clamp.Tensor", ternary_rows<ClampBetween, int64_t>(), false, nullptr, Scalars::round},
      {"swiglu", binary_rows<Swiglu>()},
      {"geglu", binary_rows<Geglu>(), false, approximate_params},
  };
  return ops;
}

ElementwiseOps scalar_ops() {
  static const ElementwiseOp ops[] = {
      {"aten.add.Scalar", unary_rows<Scalar<Add>, false, int64_t>(), false, other_alpha_params,
       Scalars::round},
      {"aten.sub.Scalar", unary_rows<Scalar<Sub>, false, int64_t>(), false, other_alpha_params,
       Scalars::round},
      {"aten.mul.Scalar", unary_rows<Scalar<Mul>, false, int64_t>(), false, other_params},
      {"aten.div.Scalar", unary_rows<Scalar<Div>>(), false, other_params},
      {"aten.div.Scalar_mode", unary_rows<Scalar<DivMode>, false, int64_t>(), false,
       other_mode_params, Scalars::keep, true},
      {"aten.fmod.Scalar", unary_rows<Scalar<Fmod>, false, int64_t>(), false, other_params,
       Scalars::round, true},
      {"aten.remainder.Scalar", unary_rows<Scalar<Remainder>, false, int64_t>(), false,
       other_params, Scalars::round, true},
      {"aten.pow.Tensor_Scalar", unary_rows<PowerScalar, false, int64_t>(), false, exponent_params},
      {"aten.pow.Scalar", unary_rows<ScalarFirst<Power>, false, int64_t>(), false, base_params,
       Scalars::round},
      {"aten.bitwise_and.Scalar", bitwise_scalar_rows<BitwiseAnd>(), false, other_params},
      {"aten.bitwise_or.Scalar", bitwise_scalar_rows<BitwiseOr>(), false, other_params},
      {"aten.bitwise_xor.Scalar", bitwise_scalar_rows<BitwiseXor>(), false, other_params},
      {"aten.clamp", unary_rows<Clamp, false, int64_t>(), false, clamp_params},
      {"aten.hardtanh", unary_rows<Clamp, false, int64_t>(), false, hardtanh_params},
  };
  return ops;
}

}  // namespace ostinato::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ostinato::cpu {

HWY_EXPORT(binary_ops);
HWY_EXPORT(scalar_ops);

namespace {

// alpha as `b` and `j`
void take_alpha(const ir::Node& node, Params& params) {
  const Params alpha = scalar_params(node, "alpha");
  params.b = alpha.a;
  params.j = alpha.i;
}

void take_mode(const ir::Node& node, Params& params) {
  using Rounding = HWY_STATIC_DISPATCH(Rounding);
  params.j = Rounding::exact;
  if (!node.has("rounding_mode")) return;
  params.j = node.string("rounding_mode") == "floor" ? Rounding::down : Rounding::towards_zero;
}

Params alpha_params(const ir::Node& node) {
  Params params;
  take_alpha(node, params);
  return params;
}

Params other_params(const ir::Node& node) { return scalar_params(node, "other"); }

Params approximate_params(const ir::Node& node) {
  return {.i = node.string("approximate") == "tanh"};
}

Params other_alpha_params(const ir::Node& node) {
  Params params = other_params(node);
  take_alpha(node, params);
  return params;
}

Params exponent_params(const ir::Node& node) { return scalar_params(node, "exponent"); }

Params base_params(const ir::Node& node) { return scalar_params(node, "self"); }

Params mode_params(const ir::Node& node) {
  Params params;
  take_mode(node, params);
  return params;
}

Params other_mode_params(const ir::Node& node) {
  Params params = other_params(node);
  take_mode(node, params);
  return params;
}

// The bounds of these names as `a` and `i`, `b` and `j`; None is no bound.
Params bounds(const ir::Node& node, std::string_view low, std::string_view high) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Params params = {.a = -kInfinity,
                   .b = kInfinity,
                   .i = std::numeric_limits<int64_t>::min(),
                   .j = std::numeric_limits<int64_t>::max()};
  if (node.has(low)) {
    const Params bound = scalar_params(node, low);
    params.a = bound.a, params.i = bound.i, params.real |= bound.real;
  }
  if (node.has(high)) {
    const Params bound = scalar_params(node, high);
    params.b = bound.a, params.j = bound.i, params.real |= bound.real;
  }
  if (std::isnan(params.a) || std::isnan(params.b)) {
    params.c = std::numeric_limits<float>::quiet_NaN();
  }
  return params;
}

Params clamp_params(const ir::Node& node) { return bounds(node, "min", "max"); }

Params hardtanh_params(const ir::Node& node) { return bounds(node, "min_val", "max_val"); }

std::unique_ptr<Kernel> make_binary(const device::Request& request) {
  const ElementwiseOps ops = HWY_DYNAMIC_DISPATCH(binary_ops)();
  return make_arithmetic(request, find_op(ops, request.node->op->name), {0, 1});
}

// clamp(self, min, max), of which either bound may be None.
std::unique_ptr<Kernel> make_clamp(const device::Request& request) {
  const ElementwiseOps ops = HWY_DYNAMIC_DISPATCH(binary_ops)();
  if (request.inputs[1] && request.inputs[2]) {
    return make_arithmetic(request, find_op(ops, "aten.clamp.Tensor"), {0, 1, 2});
  }
  if (request.inputs[1]) return make_arithmetic(request, find_op(ops, "aten.maximum"), {0, 1});
  return make_arithmetic(request, find_op(ops, "aten.minimum"), {0, 2});
}

std::unique_ptr<Kernel> make_scalar(const device::Request& request) {
  const ElementwiseOps ops = HWY_DYNAMIC_DISPATCH(scalar_ops)();
  return make_arithmetic(request, find_op(ops, request.node->op->name), {0});
}

}  // namespace

void add_binary(KernelTable& table) {
  for (const ElementwiseOp& op : HWY_DYNAMIC_DISPATCH(binary_ops)()) {
    table.add(op.name, device::Tier::fast,
              op.name == "aten.clamp.Tensor" ? make_clamp : make_binary);
  }
  for (const ElementwiseOp& op : HWY_DYNAMIC_DISPATCH(scalar_ops)()) {
    table.add(op.name, device::Tier::fast, make_scalar);
  }
}

}  // namespace ostinato::cpu
#endif  // HWY_ONCE
