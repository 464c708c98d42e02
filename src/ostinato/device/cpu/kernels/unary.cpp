#include <cmath>
#include <string>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ostinato/device/cpu/kernels/unary.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ostinato/device/cpu/kernels/elementwise.h"
#include "ostinato/device/cpu/kernels/kernels.h"
#include "ostinato/device/cpu/kernels/math-inl.h"
#include "ostinato/device/cpu/kernels/rows-inl.h"

namespace ostinato::cpu {
namespace {

Params gelu_params(const ir::Node& node);
Params leaky_relu_params(const ir::Node& node);
Params softplus_params(const ir::Node& node);
Params elu_params(const ir::Node& node);

}  // namespace
}  // namespace ostinato::cpu

HWY_BEFORE_NAMESPACE();
namespace ostinato::cpu::HWY_NAMESPACE {

/// A functor of a function of one vector.
template <VecF (*f)(VecF)>
struct Function {
  static HWY_INLINE VecF of(const Params&, VecF x) { return f(x); }
};

/// A functor of a function of one float.
template <float (*f)(float)>
struct ByLane {
  static HWY_INLINE VecF of(const Params&, VecF x) { return by_lane(f, x); }
};

struct Relu {
  static HWY_INLINE VecF of(const Params&, VecF x) {
    return hn::IfThenElse(hn::Lt(x, zero()), zero(), x);
  }
  template <typename T>
  static T value(const Params&, T x) {
    return x < 0 ? T(0) : x;
  }
};

struct Neg {
  static HWY_INLINE VecF of(const Params&, VecF x) { return hn::Neg(x); }
  template <typename T>
  static T value(const Params&, T x) {
    return static_cast<T>(0 - static_cast<uint64_t>(x));
  }
};

struct Abs {
  static HWY_INLINE VecF of(const Params&, VecF x) { return hn::Abs(x); }
  template <typename T>
  static T value(const Params& params, T x) {
    return x < 0 ? Neg::value(params, x) : x;
  }
};

struct Sign {
  static HWY_INLINE VecF of(const Params&, VecF x) {
    return hn::Sub(truth(hn::Gt(x, zero())), truth(hn::Lt(x, zero())));
  }
  template <typename T>
  static T value(const Params&, T x) {
    return static_cast<T>((x > 0) - (x < 0));
  }
};

struct Floor {
  static HWY_INLINE VecF of(const Params&, VecF x) { return hn::Floor(x); }
  template <typename T>
  static T value(const Params&, T x) {
    return x;
  }
};
struct Ceil : Floor {
  static HWY_INLINE VecF of(const Params&, VecF x) { return hn::Ceil(x); }
};
struct Round : Floor {
  static HWY_INLINE VecF of(const Params&, VecF x) { return hn::Round(x); }
};
struct Trunc : Floor {
  static HWY_INLINE VecF of(const Params&, VecF x) { return hn::Trunc(x); }
};

struct LogicalNot {
  static HWY_INLINE VecF of(const Params&, VecF x) { return truth(hn::Eq(x, zero())); }
  template <typename T>
  static bool value(const Params&, T x) {
    return x == 0;
  }
};

struct BitwiseNot {
  template <typename T>
  static T value(const Params&, T x) {
    if constexpr (std::is_same_v<T, bool>) {
      return !x;
    } else {
      return static_cast<T>(~x);
    }
  }
};

struct IsNan {
  static HWY_INLINE VecF of(const Params&, VecF x) { return truth(hn::IsNaN(x)); }
  template <typename T>
  static bool value(const Params&, T) {
    return false;
  }
};
struct IsInf : IsNan {
  static HWY_INLINE VecF of(const Params&, VecF x) { return truth(hn::IsInf(x)); }
};

struct Gelu {
  static HWY_INLINE VecF of(const Params& params, VecF x) {
    return params.i != 0 ? gelu_tanh(x) : gelu_erf(x);
  }
};

struct LeakyRelu {
  static HWY_INLINE VecF of(const Params& params, VecF x) {
    return hn::IfThenElse(hn::Gt(x, zero()), x, hn::Mul(x, set(params.a)));
  }
};

// Up to the limit b·x ≤ threshold, past which it is x itself. a: beta, b: threshold
struct Softplus {
  static HWY_INLINE VecF of(const Params& params, VecF x) {
    const VecF beta = set(params.a), scaled = hn::Mul(x, beta);
    const VecF curved = hn::Div(log1p(exp(scaled)), beta);
    return hn::IfThenElse(hn::Gt(scaled, set(params.b)), x, curved);
  }
};

// scale·x above zero, scale·alpha·(e^(input_scale·x) − 1) below. a: scale·alpha, b: scale,
// c: input_scale
struct Elu {
  static HWY_INLINE VecF of(const Params& params, VecF x) {
    const VecF negative = hn::Mul(expm1(hn::Mul(x, set(params.c))), set(params.a));
    return hn::IfThenElse(hn::Gt(x, zero()), hn::Mul(x, set(params.b)), negative);
  }
};

// min(max(x + 3, 0), 6) / 6
HWY_INLINE VecF hardsigmoid(VecF x) {
  const VecF shifted = hn::Add(x, set(3));
  const VecF clamped = keep_nan(hn::Min(hn::Max(shifted, zero()), set(6)), x);
  return hn::Div(clamped, set(6));
}
HWY_INLINE VecF hardswish(VecF x) { return hn::Mul(x, hardsigmoid(x)); }

// x · tanh(softplus(x)); past 20 the softplus is x itself
HWY_INLINE VecF mish(VecF x) {
  const VecF curved = hn::IfThenElse(hn::Gt(x, set(20)), x, log1p(exp(x)));
  return hn::Mul(x, tanh(curved));
}

HWY_INLINE VecF square_root(VecF x) { return hn::Sqrt(x); }
HWY_INLINE VecF rsqrt(VecF x) { return hn::Div(set(1), hn::Sqrt(x)); }
HWY_INLINE VecF reciprocal(VecF x) { return hn::Div(set(1), x); }
HWY_INLINE VecF sin(VecF x) { return sine<0>(x); }
HWY_INLINE VecF cos(VecF x) { return sine<1>(x); }

ElementwiseOps unary_ops() {
  static const ElementwiseOp ops[] = {
      {"aten.relu", unary_rows<Relu, false, int64_t>()},
      {"aten.neg", unary_rows<Neg, false, int64_t>()},
      {"aten.abs", unary_rows<Abs, false, int64_t>()},
      {"aten.sign", unary_rows<Sign, false, int64_t>()},
      {"aten.floor", unary_rows<Floor, false, int64_t>()},
      {"aten.ceil", unary_rows<Ceil, false, int64_t>()},
      {"aten.round", unary_rows<Round, false, int64_t>()},
      {"aten.trunc", unary_rows<Trunc, false, int64_t>()},
      {"aten.logical_not", unary_rows<LogicalNot, true, bool, int64_t>(), true},
      {"aten.bitwise_not", bitwise_not_rows<BitwiseNot>()},
      {"aten.isnan", unary_rows<IsNan, true, int64_t>(), true},
      {"aten.isinf", unary_rows<IsInf, true, int64_t>(), true},
      {"aten.exp", unary_rows<Function<exp>>()},
      {"aten.expm1", unary_rows<Function<expm1>>()},
      {"aten.log", unary_rows<Function<log>>()},
      {"aten.log2", unary_rows<Function<log2>>()},
      {"aten.log10", unary_rows<Function<log10>>()},
      {"aten.log1p", unary_rows<Function<log1p>>()},
      {"aten.sqrt", unary_rows<Function<square_root>>()},
      {"aten.rsqrt", unary_rows<Function<rsqrt>>()},
      {"aten.reciprocal", unary_rows<Function<reciprocal>>()},
      {"aten.sin", unary_rows<Function<sin>>()},
      {"aten.cos", unary_rows<Function<cos>>()},
      {"aten.tan", unary_rows<ByLane<std::tan>>()},
      {"aten.asin", unary_rows<ByLane<std::asin>>()},
      {"aten.acos", unary_rows<ByLane<std::acos>>()},
      {"aten.atan", unary_rows<ByLane<std::atan>>()},
      {"aten.sinh", unary_rows<ByLane<std::sinh>>()},
      {"aten.cosh", unary_rows<ByLane<std::cosh>>()},
      {"aten.asinh", unary_rows<ByLane<std::asinh>>()},
      {"aten.acosh", unary_rows<ByLane<std::acosh>>()},
      {"aten.atanh", unary_rows<ByLane<std::atanh>>()},
      {"aten.tanh", unary_rows<Function<tanh>>()},
      {"aten.erf", unary_rows<Function<erf>>()},
      {"aten.sigmoid", unary_rows<Function<sigmoid>>()},
      {"aten.silu", unary_rows<Function<silu>>()},
      {"aten.hardsigmoid", unary_rows<Function<hardsigmoid>>()},
      {"aten.hardswish", unary_rows<Function<hardswish>>()},
      {"aten.mish", unary_rows<Function<mish>>()},
      {"aten.softplus", unary_rows<Softplus>(), false, softplus_params},
      {"aten.elu", unary_rows<Elu>(), false, elu_params},
      {"aten.gelu", unary_rows<Gelu>(), false, gelu_params},
      {"aten.leaky_relu", unary_rows<LeakyRelu>(), false, leaky_relu_params},
  };
  return ops;
}

}  // namespace ostinato::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ostinato::cpu {

HWY_EXPORT(unary_ops);

namespace {

Params gelu_params(const ir::Node& node) { return {.i = node.string("approximate") == "tanh"}; }

Params leaky_relu_params(const ir::Node& node) {
  return {.a = static_cast<float>(node.real("negative_slope"))};
}

Params softplus_params(const ir::Node& node) {
  return {.a = static_cast<float>(node.real("beta")),
          .b = static_cast<float>(node.real("threshold"))};
}

Params elu_params(const ir::Node& node) {
  const double scale = node.real("scale");
  return {.a = static_cast<float>(scale * node.real("alpha")),
          .b = static_cast<float>(scale),
          .c = static_cast<float>(node.real("input_scale"))};
}

std::unique_ptr<Kernel> make_unary(const device::Request& request) {
  const ElementwiseOps ops = HWY_DYNAMIC_DISPATCH(unary_ops)();
  return make_arithmetic(request, find_op(ops, request.node->op->name), {0});
}

}  // namespace

void add_unary(KernelTable& table) {
  for (const ElementwiseOp& op : HWY_DYNAMIC_DISPATCH(unary_ops)()) {
    table.add(op.name, device::Tier::fast, make_unary);
  }
}

}  // namespace ostinato::cpu
#endif  // HWY_ONCE
