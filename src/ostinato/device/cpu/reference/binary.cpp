#include <cmath>
#include <functional>

#include "ostinato/device/cpu/reference/elementwise.h"

namespace ostinato::cpu::reference {

namespace {

// Integers wrap: they are added and multiplied without a sign.
int64_t add_wrapping(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}
int64_t multiply_wrapping(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}
int64_t negate_wrapping(int64_t a) { return multiply_wrapping(a, -1); }

// self ± alpha * other
template <bool subtract>
void add(const Call& call) {
  const View& y = call.outputs[0];
  const Source a = source(call, "self", y.dtype(), Scalars::round);
  const Source b = source(call, "other", y.dtype(), Scalars::round);
  if (is_floating(y.dtype())) {
    const float given = ir::number_of<float>(call.node.attribute("alpha"));
    const float alpha = subtract ? -given : given;
    map<float>(
        y, [alpha](float x, float z) { return x + alpha * z; }, a, b);
  } else {
    const int64_t given = ir::number_of<int64_t>(call.node.attribute("alpha"));
    const int64_t alpha = subtract ? negate_wrapping(given) : given;
    const auto f = [alpha](int64_t x, int64_t z) {
      return add_wrapping(x, multiply_wrapping(alpha, z));
    };
    map<int64_t>(y, f, a, b);
  }
}

// Computes in the result's dtype.
template <typename Op, Scalars scalars>
void binary(const Call& call) {
  const View& y = call.outputs[0];
  const Source a = source(call, "self", y.dtype(), scalars);
  const Source b = source(call, "other", y.dtype(), scalars);
  is_floating(y.dtype()) ? map<float>(y, Op(), a, b) : map<int64_t>(y, Op(), a, b);
}

struct Multiply {
  float operator()(float a, float b) const { return a * b; }
  int64_t operator()(int64_t a, int64_t b) const { return multiply_wrapping(a, b); }
};
struct Maximum {
  template <typename T>
  T operator()(T a, T b) const {
    return larger(a, b);
  }
};
struct Minimum {
  template <typename T>
  T operator()(T a, T b) const {
    return smaller(a, b);
  }
};

template <float (*f)(float, float)>
void real(const Call& call) {
  const View& y = call.outputs[0];
  map<float>(y, f, source(call, "self", y.dtype(), Scalars::keep),
             source(call, "other", y.dtype(), Scalars::keep));
}

float divide(float a, float b) { return a / b; }

// Quotients and remainders. Of integers, the divisor is neither 0 nor -1.
struct Truncated {
  float operator()(float a, float b) const { return std::trunc(a / b); }
  int64_t operator()(int64_t a, int64_t b) const { return a / b; }
  static int64_t by_minus_one(int64_t a) { return negate_wrapping(a); }
};
struct Floored {
  // As Python's float floor division: exact where the rounded quotient would reach the next
  // integer.
  float operator()(float a, float b) const {
    if (b == 0) return a / b;
    const float rest = std::fmod(a, b);
    float quotient = (a - rest) / b;
    if (rest != 0 && (b < 0) != (rest < 0)) quotient -= 1;
    if (quotient == 0) return std::copysign(0.0f, a / b);
    const float floored = std::floor(quotient);
    return quotient - floored > 0.5f ? floored + 1 : floored;
  }
  int64_t operator()(int64_t a, int64_t b) const {
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
  }
  static int64_t by_minus_one(int64_t a) { return negate_wrapping(a); }
};
struct Fmod {  // has the sign of the dividend
  float operator()(float a, float b) const { return std::fmod(a, b); }
  int64_t operator()(int64_t a, int64_t b) const { return a % b; }
  static int64_t by_minus_one(int64_t) { return 0; }
};
struct Remainder {  // has the sign of the divisor
  float operator()(float a, float b) const {
    const float rest = std::fmod(a, b);
    return rest != 0 && (b < 0) != (rest < 0) ? rest + b : rest;
  }
  int64_t operator()(int64_t a, int64_t b) const {
    const int64_t rest = a % b;
    return rest != 0 && (b < 0) != (rest < 0) ? rest + b : rest;
  }
  static int64_t by_minus_one(int64_t) { return 0; }
};

template <typename Op, Scalars scalars>
void division(const Call& call) {
  const View& y = call.outputs[0];
  const Source a = source(call, "self", y.dtype(), scalars);
  const Source b = source(call, "other", y.dtype(), scalars);
  if (is_floating(y.dtype())) return map<float>(y, Op(), a, b);
  const auto f = [&call](int64_t x, int64_t z) {
    if (z == 0) {
      call.fault->store(&call.node, std::memory_order_relaxed);
      return int64_t{0};
    }
    return z == -1 ? Op::by_minus_one(x) : Op()(x, z);
  };
  map<int64_t>(y, f, a, b);
}

void division_by_mode(const Call& call) {
  if (!call.node.has("rounding_mode")) return real<divide>(call);
  call.node.string("rounding_mode") == "floor" ? division<Floored, Scalars::keep>(call)
                                               : division<Truncated, Scalars::keep>(call);
}

int64_t integer_power(int64_t base, int64_t exponent) {
  if (exponent < 0) {  // what the truncated reciprocal is
    if (base == -1) return exponent % 2 == 0 ? 1 : -1;
    return base == 1 ? 1 : 0;
  }
  int64_t result = 1;
  for (; exponent > 0; exponent /= 2) {
    if (exponent % 2 != 0) result = multiply_wrapping(result, base);
    base = multiply_wrapping(base, base);
  }
  return result;
}

void power(const Call& call) {
  const View& y = call.outputs[0];
  const Source base = source(call, "self", y.dtype(), Scalars::round);
  const Source exponent = source(call, "exponent", y.dtype(), Scalars::keep);
  if (is_floating(y.dtype())) {
    map<float>(
        y, [](float a, float b) { return std::pow(a, b); }, base, exponent);
  } else {
    map<int64_t>(y, integer_power, base, exponent);
  }
}

template <typename Op>
void bitwise(const Call& call) {
  const View& y = call.outputs[0];
  map<int64_t>(y, Op(), source(call, "self", y.dtype(), Scalars::round),
               source(call, "other", y.dtype(), Scalars::round));
}

template <typename Op>
void logical(const Call& call) {
  const auto f = [](float a, float b) -> bool { return Op()(a != 0, b != 0); };
  map<float>(call.outputs[0], f, Source(call.inputs[0], DType::float32),
             Source(call.inputs[1], DType::float32));
}

}  // namespace

void add_binary(KernelTable& table) {
  const auto add_kernel = [&table](std::string_view name, Factory make) {
    table.add(name, device::Tier::reference, make);
  };
  for (const std::string_view name : {"aten.add.Tensor", "aten.add.Scalar"}) {
    add_kernel(name, make<add<false>>);
  }
  for (const std::string_view name : {"aten.sub.Tensor", "aten.sub.Scalar"}) {
    add_kernel(name, make<add<true>>);
  }
  for (const std::string_view name : {"aten.mul.Tensor", "aten.mul.Scalar"}) {
    add_kernel(name, make<binary<Multiply, Scalars::keep>>);
  }
  for (const std::string_view name : {"aten.div.Tensor", "aten.div.Scalar"}) {
    add_kernel(name, make<real<divide>>);
  }
  for (const std::string_view name : {"aten.div.Tensor_mode", "aten.div.Scalar_mode"}) {
    add_kernel(name, make<division_by_mode>);
  }
  for (const std::string_view name : {"aten.fmod.Tensor", "aten.fmod.Scalar"}) {
    add_kernel(name, make<division<Fmod, Scalars::round>>);
  }
  for (const std::string_view name : {"aten.remainder.Tensor", "aten.remainder.Scalar"}) {
    add_kernel(name, make<division<Remainder, Scalars::round>>);
  }
  for (const std::string_view name :
       {"aten.pow.Tensor_Scalar", "aten.pow.Scalar", "aten.pow.Tensor_Tensor"}) {
    add_kernel(name, make<power>);
  }
  for (const std::string_view name : {"aten.bitwise_and.Tensor", "aten.bitwise_and.Scalar"}) {
    add_kernel(name, make<bitwise<std::bit_and<int64_t>>>);
  }
  for (const std::string_view name : {"aten.bitwise_or.Tensor", "aten.bitwise_or.Scalar"}) {
    add_kernel(name, make<bitwise<std::bit_or<int64_t>>>);
  }
  for (const std::string_view name : {"aten.bitwise_xor.Tensor", "aten.bitwise_xor.Scalar"}) {
    add_kernel(name, make<bitwise<std::bit_xor<int64_t>>>);
  }
  add_kernel("aten.minimum", make<binary<Minimum, Scalars::round>>);
  add_kernel("aten.maximum", make<binary<Maximum, Scalars::round>>);
  add_kernel("aten.atan2", make<real<std::atan2>>);
  add_kernel("aten.logical_and", make<logical<std::logical_and<bool>>>);
  add_kernel("aten.logical_or", make<logical<std::logical_or<bool>>>);
  add_kernel("aten.logical_xor", make<logical<std::not_equal_to<bool>>>);
}

}  // namespace ostinato::cpu::reference
