#include <cmath>
#include <limits>

#include "ostinato/device/cpu/reference/elementwise.h"

namespace ostinato::cpu::reference {

namespace {

// Functions of real numbers; integers are converted first.
template <float (*f)(float)>
void real(const Call& call) {
  map<float>(call.outputs[0], f, Source(call.inputs[0], call.outputs[0].dtype()));
}

float reciprocal(float x) { return 1 / x; }
float rsqrt(float x) { return 1 / std::sqrt(x); }
float sigmoid(float x) { return 1 / (1 + std::exp(-x)); }
float silu(float x) { return x / (1 + std::exp(-x)); }
float mish(float x) { return x * std::tanh(std::log1p(std::exp(x))); }
float hardsigmoid(float x) { return smaller(larger(x + 3, 0.0f), 6.0f) / 6; }
float hardswish(float x) { return x * hardsigmoid(x); }

// Φ(x)·x, and its approximation (Hendrycks and Gimpel, arXiv:1606.08415)
float gelu_erf(float x) {
  constexpr float kSqrtHalf = 0.70710678118654752f;
  return x * 0.5f * (1 + std::erf(x * kSqrtHalf));
}
float gelu_tanh(float x) {
  constexpr float kSqrtTwoOverPi = 0.79788456080286536f;
  return 0.5f * x * (1 + std::tanh(kSqrtTwoOverPi * (x + 0.044715f * x * x * x)));
}

void gelu(const Call& call) {
  call.node.string("approximate") == "tanh" ? real<gelu_tanh>(call) : real<gelu_erf>(call);
}

// Functions of numbers, which integers go through exactly.
template <typename Op>
void number(const Call& call) {
  const View& y = call.outputs[0];
  const Source x(call.inputs[0], y.dtype());
  is_floating(y.dtype()) ? map<float>(y, Op(), x) : map<int64_t>(y, Op(), x);
}

struct Neg {
  float operator()(float x) const { return -x; }
  int64_t operator()(int64_t x) const {
    return static_cast<int64_t>(0 - static_cast<uint64_t>(x));  // wraps
  }
};
struct Abs {
  float operator()(float x) const { return std::fabs(x); }
  int64_t operator()(int64_t x) const { return x < 0 ? Neg()(x) : x; }
};
struct Relu {
  template <typename T>
  T operator()(T x) const {
    return larger(x, T{0});
  }
};
struct Sign {
  template <typename T>
  T operator()(T x) const {
    return static_cast<T>((x > 0) - (x < 0));
  }
};
template <float (*f)(float)>
struct Integral {
  float operator()(float x) const { return f(x); }
  int64_t operator()(int64_t x) const { return x; }
};

template <typename Op>
void predicate(const Call& call) {
  map<float>(call.outputs[0], Op(), Source(call.inputs[0], DType::float32));
}

struct IsNan {
  bool operator()(float x) const { return std::isnan(x); }
};
struct IsInf {
  bool operator()(float x) const { return std::isinf(x); }
};
struct IsZero {
  bool operator()(float x) const { return x == 0; }
};

void bitwise_not(const Call& call) {
  const View& y = call.outputs[0];
  const bool logical = y.dtype() == DType::boolean;
  const auto flip = [logical](int64_t x) { return logical ? int64_t{x == 0} : ~x; };
  map<int64_t>(y, flip, Source(call.inputs[0], y.dtype()));
}

// Limits between which a value is put; the upper one wins.
template <typename T>
T limited(T x, T min, T max) {
  return smaller(larger(x, min), max);
}

template <typename T>
void clamp_to(const Call& call, std::string_view min_name, std::string_view max_name) {
  const View& y = call.outputs[0];
  const auto limit = [&](std::string_view name, T none) {
    return call.node.has(name) ? ir::number_of<T>(call.node.attribute(name)) : none;
  };
  using Limits = std::numeric_limits<T>;
  const bool real = Limits::has_infinity;
  const T min = limit(min_name, real ? -Limits::infinity() : Limits::min());
  const T max = limit(max_name, real ? Limits::infinity() : Limits::max());
  map<T>(
      y, [=](T x) { return limited(x, min, max); }, Source(call.inputs[0], y.dtype()));
}

void clamp(const Call& call) {
  is_floating(call.outputs[0].dtype()) ? clamp_to<float>(call, "min", "max")
                                       : clamp_to<int64_t>(call, "min", "max");
}

void hardtanh(const Call& call) {
  is_floating(call.outputs[0].dtype()) ? clamp_to<float>(call, "min_val", "max_val")
                                       : clamp_to<int64_t>(call, "min_val", "max_val");
}

template <typename T>
void clamp_to_tensors(const Call& call) {
  const View &y = call.outputs[0], &min = call.input("min"), &max = call.input("max");
  const Source x(call.inputs[0], y.dtype());
  if (min && max) {
    map<T>(y, limited<T>, x, Source(min, y.dtype()), Source(max, y.dtype()));
  } else if (min) {
    map<T>(y, larger<T>, x, Source(min, y.dtype()));
  } else {
    map<T>(y, smaller<T>, x, Source(max, y.dtype()));
  }
}

void clamp_tensor(const Call& call) {
  is_floating(call.outputs[0].dtype()) ? clamp_to_tensors<float>(call)
                                       : clamp_to_tensors<int64_t>(call);
}

void leaky_relu(const Call& call) {
  const float slope = static_cast<float>(call.node.real("negative_slope"));
  map<float>(
      call.outputs[0], [slope](float x) { return x > 0 ? x : x * slope; },
      Source(call.inputs[0], call.outputs[0].dtype()));
}

void elu(const Call& call) {
  const float scale = static_cast<float>(call.node.real("scale"));
  const float negative = static_cast<float>(call.node.real("alpha")) * scale;
  const float inner = static_cast<float>(call.node.real("input_scale"));
  const auto f = [=](float x) { return x > 0 ? x * scale : std::expm1(x * inner) * negative; };
  map<float>(call.outputs[0], f, Source(call.inputs[0], call.outputs[0].dtype()));
}

void softplus(const Call& call) {
  const float beta = static_cast<float>(call.node.real("beta"));
  const float threshold = static_cast<float>(call.node.real("threshold"));
  const auto f = [=](float x) {
    return x * beta > threshold ? x : std::log1p(std::exp(x * beta)) / beta;
  };
  map<float>(call.outputs[0], f, Source(call.inputs[0], call.outputs[0].dtype()));
}

}  // namespace

void add_unary(KernelTable& table) {
  const auto add = [&table](std::string_view name, Factory make) {
    table.add(name, device::Tier::reference, make);
  };
  add("aten.acos", make<real<std::acos>>);
  add("aten.acosh", make<real<std::acosh>>);
  add("aten.asin", make<real<std::asin>>);
  add("aten.asinh", make<real<std::asinh>>);
  add("aten.atan", make<real<std::atan>>);
  add("aten.atanh", make<real<std::atanh>>);
  add("aten.cos", make<real<std::cos>>);
  add("aten.cosh", make<real<std::cosh>>);
  add("aten.erf", make<real<std::erf>>);
  add("aten.exp", make<real<std::exp>>);
  add("aten.expm1", make<real<std::expm1>>);
  add("aten.gelu", make<gelu>);
  add("aten.hardsigmoid", make<real<hardsigmoid>>);
  add("aten.hardswish", make<real<hardswish>>);
  add("aten.log", make<real<std::log>>);
  add("aten.log10", make<real<std::log10>>);
  add("aten.log1p", make<real<std::log1p>>);
  add("aten.log2", make<real<std::log2>>);
  add("aten.mish", make<real<mish>>);
  add("aten.reciprocal", make<real<reciprocal>>);
  add("aten.rsqrt", make<real<rsqrt>>);
  add("aten.sigmoid", make<real<sigmoid>>);
  add("aten.silu", make<real<silu>>);
  add("aten.sin", make<real<std::sin>>);
  add("aten.sinh", make<real<std::sinh>>);
  add("aten.sqrt", make<real<std::sqrt>>);
  add("aten.tan", make<real<std::tan>>);
  add("aten.tanh", make<real<std::tanh>>);

  add("aten.abs", make<number<Abs>>);
  add("aten.ceil", make<number<Integral<std::ceil>>>);
  add("aten.floor", make<number<Integral<std::floor>>>);
  add("aten.neg", make<number<Neg>>);
  add("aten.relu", make<number<Relu>>);
  add("aten.round", make<number<Integral<std::nearbyint>>>);  // halves go to even
  add("aten.sign", make<number<Sign>>);
  add("aten.trunc", make<number<Integral<std::trunc>>>);

  add("aten.isinf", make<predicate<IsInf>>);
  add("aten.isnan", make<predicate<IsNan>>);
  add("aten.logical_not", make<predicate<IsZero>>);
  add("aten.bitwise_not", make<bitwise_not>);

  add("aten.clamp", make<clamp>);
  add("aten.clamp.Tensor", make<clamp_tensor>);
  add("aten.elu", make<elu>);
  add("aten.hardtanh", make<hardtanh>);
  add("aten.leaky_relu", make<leaky_relu>);
  add("aten.softplus", make<softplus>);
}

}  // namespace ostinato::cpu::reference
