#include <bit>
#include <cmath>

#include "device/kernel_case.h"
#include "ostinato/base/float16.h"
#include "ostinato/device/cpu/kernels/convert.h"

namespace ostinato::cpu {
namespace {

using Names = std::vector<std::string_view>;
using Shapes = std::vector<std::vector<int64_t>>;

constexpr Storage kStorages[] = {Storage::contiguous, Storage::permuted, Storage::sliced,
                                 Storage::expanded};

class ElementwiseTest : public KernelTest {
 protected:
  // In several shapes and layouts.
  void check_unary(std::string_view op, Draw draw,
                   const std::vector<ir::NamedAttribute>& attributes = {}) {
    for (const auto& sizes : Shapes{{}, {0}, {1}, {31}, {4, 32}, {3, 0, 5}, {70, 501}}) {
      draw.sizes = sizes;
      expect_fast_equals_reference({op, {draw}, attributes});
    }
    for (Storage storage : kStorages) {
      draw.sizes = {5, 3, 19};
      draw.storage = storage;
      expect_fast_equals_reference({op, {draw}, attributes});
    }
  }

  void check_binary(std::string_view op, Draw a, Draw b,
                    const std::vector<ir::NamedAttribute>& attributes = {}) {
    const std::vector<std::pair<std::vector<int64_t>, std::vector<int64_t>>> shapes = {
        {{}, {}},          {{0}, {0}},          {{33}, {33}},        {{4, 32}, {4, 32}},
        {{4, 32}, {}},     {{}, {4, 32}},       {{3, 7}, {7}},       {{3, 1}, {1, 7}},
        {{2, 5, 1}, {21}}, {{6, 1, 9}, {4, 1}}, {{90, 300}, {90, 1}}};
    for (const auto& [left, right] : shapes) {
      a.sizes = left;
      b.sizes = right;
      expect_fast_equals_reference({op, {a, b}, attributes});
    }
    for (Storage left : kStorages) {
      for (Storage right : kStorages) {
        a.sizes = {4, 3, 21};
        b.sizes = {4, 3, 21};
        a.storage = left;
        b.storage = right;
        expect_fast_equals_reference({op, {a, b}, attributes});
      }
    }
  }
};

TEST_P(ElementwiseTest, UnaryOverAllFloats) {
  for (std::string_view op :
       Names{"aten.relu",      "aten.neg",      "aten.abs",         "aten.sign",
             "aten.floor",     "aten.ceil",     "aten.round",       "aten.trunc",
             "aten.isnan",     "aten.isinf",    "aten.logical_not", "aten.exp",
             "aten.expm1",     "aten.sin",      "aten.cos",         "aten.atan",
             "aten.sinh",      "aten.cosh",     "aten.asinh",       "aten.tanh",
             "aten.erf",       "aten.sigmoid",  "aten.silu",        "aten.hardsigmoid",
             "aten.hardswish", "aten.mish",     "aten.gelu",        "aten.leaky_relu",
             "aten.elu",       "aten.softplus", "aten.hardtanh",    "aten.reciprocal"}) {
    check_unary(op, {dtype(), {}, {}, 3});
  }
  check_unary("aten.gelu", {dtype(), {}, {}, 3}, {{"approximate", "tanh"}});
  check_unary("aten.elu", {dtype(), {}, {}, 3},
              {{"alpha", 1.5}, {"scale", 0.5}, {"input_scale", 2.0}});
  check_unary("aten.softplus", {dtype(), {}, {}, 3}, {{"beta", 2.0}, {"threshold", 3.0}});
}

TEST_P(ElementwiseTest, UnaryWithinItsDomain) {
  for (std::string_view op :
       Names{"aten.log", "aten.log2", "aten.log10", "aten.log1p", "aten.sqrt", "aten.rsqrt"}) {
    check_unary(op, {dtype(), {}, {}, 0.2, 2});
    check_unary(op, {dtype(), {}, {}, 1, 0});  // NaN below zero
  }
  for (std::string_view op : Names{"aten.asin", "aten.acos", "aten.atanh", "aten.tan"}) {
    check_unary(op, {dtype(), {}, {}, 0.2});
  }
  check_unary("aten.acosh", {dtype(), {}, {}, 0.3, 3});
}

TEST_P(ElementwiseTest, AnglesOfLongRotaryTables) {
  for (std::string_view op : Names{"aten.sin", "aten.cos"}) {
    check_unary(op, {dtype(), {}, {}, 2e4});
    check_unary(op, {dtype(), {}, {}, 3e9});
  }
}

TEST_P(ElementwiseTest, UnaryOfIntegers) {
  for (DType integers : {DType::int64, DType::int32, DType::uint8, DType::boolean}) {
    const Draw draw{integers, {}, {}, 1, 0, 0, 7};
    for (std::string_view op : Names{"aten.bitwise_not", "aten.logical_not", "aten.isnan",
                                     "aten.exp", "aten.sin", "aten.sqrt", "aten.sigmoid"}) {
      check_unary(op, draw);
    }
    if (integers == DType::boolean) continue;
    for (std::string_view op : Names{"aten.relu", "aten.abs", "aten.neg", "aten.floor"}) {
      check_unary(op, draw);
    }
  }
}

TEST_P(ElementwiseTest, Binary) {
  const Draw x{dtype(), {}, {}, 2};
  for (std::string_view op :
       Names{"aten.add.Tensor", "aten.sub.Tensor",  "aten.mul.Tensor",  "aten.div.Tensor",
             "aten.minimum",    "aten.maximum",     "aten.fmod.Tensor", "aten.remainder.Tensor",
             "aten.atan2",      "aten.logical_and", "aten.logical_or",  "aten.logical_xor",
             "aten.eq.Tensor",  "aten.ne.Tensor",   "aten.lt.Tensor",   "aten.le.Tensor",
             "aten.gt.Tensor",  "aten.ge.Tensor",   "swiglu",           "geglu"}) {
    if (op.ends_with("glu")) {  // take no broadcasting
      expect_fast_equals_reference({op, {Draw{dtype(), {5, 67}}, Draw{dtype(), {5, 67}}}});
      continue;
    }
    check_binary(op, x, x);
  }
  const Draw half{dtype(), {5, 67}};
  expect_fast_equals_reference({"geglu", {half, half}, {{"approximate", "tanh"}}});
  check_binary("aten.add.Tensor", x, x, {{"alpha", 0.5}});
  check_binary("aten.sub.Tensor", x, x, {{"alpha", 2}});
  check_binary("aten.pow.Tensor_Tensor", {dtype(), {}, {}, 0.3, 2}, {dtype(), {}, {}, 0.5});
  check_binary("aten.div.Tensor_mode", x, x, {{"rounding_mode", "floor"}});
  check_binary("aten.div.Tensor_mode", x, x, {{"rounding_mode", "trunc"}});
}

TEST_P(ElementwiseTest, BinaryOfIntegers) {
  for (DType integers : {DType::int64, DType::int32, DType::uint8}) {
    const Draw x{integers, {}, {}, 1, 0, 1, 9};
    for (std::string_view op :
         Names{"aten.add.Tensor", "aten.sub.Tensor", "aten.mul.Tensor", "aten.div.Tensor",
               "aten.minimum", "aten.maximum", "aten.fmod.Tensor", "aten.remainder.Tensor",
               "aten.bitwise_and.Tensor", "aten.bitwise_or.Tensor", "aten.bitwise_xor.Tensor",
               "aten.logical_and", "aten.eq.Tensor", "aten.lt.Tensor", "aten.pow.Tensor_Tensor"}) {
      check_binary(op, x, x);
    }
    check_binary("aten.div.Tensor_mode", x, x, {{"rounding_mode", "floor"}});
  }
  const Draw x{DType::int64, {}, {}, 1, 0, -9, 10}, y{DType::int64, {}, {}, 1, 0, 1, 4};
  check_binary("aten.remainder.Tensor", x, y);
  check_binary("aten.div.Tensor_mode", x, y, {{"rounding_mode", "floor"}});
  check_binary("aten.div.Tensor_mode", x, y, {{"rounding_mode", "trunc"}});
  const Draw flags{DType::boolean};
  for (std::string_view op :
       Names{"aten.bitwise_and.Tensor", "aten.bitwise_or.Tensor", "aten.logical_or",
             "aten.logical_xor", "aten.eq.Tensor", "aten.mul.Tensor", "aten.add.Tensor"}) {
    check_binary(op, flags, flags);
  }
}

TEST_P(ElementwiseTest, BinaryOfMixedDTypes) {
  for (DType other : {DType::float32, DType::int64, DType::uint8, DType::boolean}) {
    for (std::string_view op : Names{"aten.add.Tensor", "aten.mul.Tensor", "aten.gt.Tensor"}) {
      check_binary(op, {dtype()}, {other, {}, {}, 1, 0, 0, 5});
      check_binary(op, {other, {}, {}, 1, 0, 0, 5}, {dtype()});
    }
  }
}

TEST_P(ElementwiseTest, Scalars) {
  const Draw x{dtype(), {}, {}, 2};
  for (std::string_view op :
       Names{"aten.add.Scalar", "aten.sub.Scalar", "aten.mul.Scalar", "aten.div.Scalar",
             "aten.fmod.Scalar", "aten.remainder.Scalar", "aten.eq.Scalar", "aten.ne.Scalar",
             "aten.lt.Scalar", "aten.le.Scalar", "aten.gt.Scalar", "aten.ge.Scalar"}) {
    check_unary(op, x, {{"other", 1.3}});
    check_unary(op, x, {{"other", 2}});
    check_unary(op, {DType::int64}, {{"other", 3}});
    check_unary(op, {DType::int64}, {{"other", 1.5}});
  }
  for (double exponent : {2.0, 3.0, -1.0, 0.5, 1.7}) {
    check_unary("aten.pow.Tensor_Scalar", {dtype(), {}, {}, 0.2, 2}, {{"exponent", exponent}});
  }
  check_unary("aten.pow.Tensor_Scalar", {DType::int64}, {{"exponent", 3}});
  check_unary("aten.pow.Scalar", x, {{"self", 10.0}});
  check_unary("aten.clamp", x, {{"min", -0.5}, {"max", 1}});
  check_unary("aten.clamp", x, {{"min", 0}});
  check_unary("aten.clamp", {DType::int64}, {{"max", 2}});
  check_unary("aten.bitwise_and.Scalar", {DType::int64}, {{"other", 3}});
  check_unary("aten.div.Scalar_mode", x, {{"other", 0.7}, {"rounding_mode", "floor"}});
}

TEST_P(ElementwiseTest, Where) {
  for (Storage storage : kStorages) {
    const Draw condition{DType::boolean, {4, 3, 21}, storage};
    expect_fast_equals_reference(
        {"aten.where.self", {condition, Draw{dtype(), {4, 3, 21}}, Draw{dtype(), {4, 3, 21}}}});
    expect_fast_equals_reference(
        {"aten.where.self", {condition, Draw{dtype(), {3, 1}}, Draw{dtype(), {}}}});
    expect_fast_equals_reference(
        {"aten.where.self", {condition, Draw{dtype(), {}}, Draw{dtype(), {21}, storage}}});
  }
  expect_fast_equals_reference(
      {"aten.where.self",
       {Draw{DType::boolean, {1, 1, 40, 600}}, Draw{dtype(), {}}, Draw{dtype(), {}}}});
}

// All upper halves of a float with lower ones around a tie, NaNs and subnormals among them.
template <typename T>
void expect_rounds_to_nearest_even(DType to) {
  constexpr uint32_t kLower[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff, 0x0fff, 0x1000, 0x1001};
  std::vector<float> from;
  for (uint32_t upper = 0; upper < 0x10000; ++upper) {
    for (uint32_t lower : kLower) from.push_back(std::bit_cast<float>(upper << 16 | lower));
  }
  std::vector<T> got(from.size());
  find_convert(DType::float32, to)(from.data(), got.data(), static_cast<int64_t>(from.size()));
  for (size_t i = 0; i < from.size(); ++i) {
    const T want = from_float<T>(from[i]);
    if (std::isnan(from[i]) && std::isnan(to_float(got[i]))) continue;  // of any payload
    ASSERT_EQ(got[i].bits, want.bits) << std::hex << std::bit_cast<uint32_t>(from[i]);
  }
}

TEST_P(ElementwiseTest, Casts) {
  for (DType to : {DType::float32, DType::bfloat16, DType::float16, DType::int64, DType::int32,
                   DType::uint8, DType::boolean}) {
    check_unary("aten._to_copy", {dtype(), {}, {}, 0.5, 20}, {{"dtype", to}});
    for (DType from : {DType::int64, DType::int32, DType::uint8, DType::boolean}) {
      check_unary("aten._to_copy", {from, {}, {}, 1, 0, 0, 9}, {{"dtype", to}});
    }
  }
  if (dtype() != DType::float32) return;
  expect_rounds_to_nearest_even<bfloat16>(DType::bfloat16);
  expect_rounds_to_nearest_even<float16>(DType::float16);
}

// Through tiles within rows, over rows and over all, on operands of every layout.
TEST_P(ElementwiseTest, Fused) {
  const std::string calls =
      "%3 = aten.gt.Scalar(%0) {other=0.5}; %4 = aten.neg(%0); %5 = aten.where.self(%3, %4, %1); "
      "%6 = aten.maximum(%5, %2); %7 = aten.abs(%6)";
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>(90, 7), {5, 700}, {0, 4}}) {
    for (Storage storage : kStorages) {
      const Draw x{dtype(), {rows, columns}, storage}, row{dtype(), {rows, 1}};
      expect_fast_equals_reference(
          {"fused_elementwise", {x, row, Draw{dtype(), {columns}}}, {{"program", calls}}});
      for (const char* reduction :
           {"aten.sum.dim_IntList(%7) {dim=[1]}", "aten.mean.dim(%7) {dim=[-1], keepdim=true}",
            "aten.amax(%7) {dim=[1]}", "aten.amin(%7) {dim=[1]}"}) {
        if (columns == 4) continue;
        expect_fast_equals_reference({"fused_reduction",
                                      {x, row, Draw{dtype(), {}, {}, 0.5}},
                                      {{"program", calls + "; %8 = " + reduction}},
                                      "reduction"});
      }
    }
  }
}

OSTINATO_KERNEL_TESTS(ElementwiseTest);

}  // namespace
}  // namespace ostinato::cpu
