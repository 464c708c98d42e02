#include "ops/calls.h"

namespace ostinato::ops {
namespace {

using enum DType;
using ir::Value;

class Promotion : public Calls {
 protected:
  DType dtype(std::string_view op, std::vector<Value*> operands,
              const std::vector<ir::NamedAttribute>& attributes = {}) {
    return call(op, std::move(operands), attributes)->results.at(0)->dtype();
  }
  Value* tensor(DType type) { return input({2, s0}, type); }
  Value* scalar(DType type) { return input({}, type); }
};

TEST_F(Promotion, FollowsCategoriesAndWrappedNumbers) {
  const std::string_view add = "aten.add.Tensor", times = "aten.mul.Scalar";
  EXPECT_EQ(dtype(add, {tensor(bfloat16), tensor(float16)}), float32);
  EXPECT_EQ(dtype(add, {tensor(int32), tensor(uint8)}), int32);
  EXPECT_EQ(dtype(add, {tensor(int64), tensor(float16)}), float16);
  EXPECT_EQ(dtype(add, {tensor(bfloat16), scalar(float32)}), bfloat16);
  EXPECT_EQ(dtype(add, {scalar(int64), tensor(uint8)}), uint8);
  EXPECT_EQ(dtype(add, {tensor(int64), scalar(bfloat16)}), bfloat16);
  EXPECT_EQ(dtype(times, {tensor(uint8)}, {{"other", 300}}), uint8);
  EXPECT_EQ(dtype(times, {tensor(int64)}, {{"other", 0.5}}), float32);
  EXPECT_EQ(dtype(times, {tensor(boolean)}, {{"other", 2}}), int64);
  EXPECT_EQ(dtype(times, {tensor(float16)}, {{"other", 0.5}}), float16);
}

TEST_F(Promotion, KnowsEachFamily) {
  EXPECT_EQ(dtype("aten.div.Tensor", {tensor(int64), tensor(int32)}), float32);
  EXPECT_EQ(
      dtype("aten.div.Tensor_mode", {tensor(int64), tensor(int32)}, {{"rounding_mode", "floor"}}),
      int64);
  EXPECT_EQ(dtype("aten.exp", {tensor(boolean)}), float32);
  EXPECT_EQ(dtype("aten.exp", {tensor(bfloat16)}), bfloat16);
  EXPECT_EQ(dtype("aten.lt.Tensor", {tensor(float16), tensor(int32)}), boolean);
  EXPECT_EQ(dtype("aten.where.self", {tensor(boolean), scalar(int64), tensor(bfloat16)}), bfloat16);
  EXPECT_EQ(dtype("aten.pow.Scalar", {tensor(int32)}, {{"self", 2.0}}), float32);
  EXPECT_EQ(dtype("aten.clamp", {tensor(int32)}, {{"min", 0.5}}), float32);
  EXPECT_EQ(dtype("aten.sum", {tensor(boolean)}), int64);
  EXPECT_EQ(dtype("aten.any", {tensor(uint8)}), uint8);
  EXPECT_EQ(dtype("aten.any", {tensor(float32)}), boolean);
  EXPECT_EQ(dtype("aten.cumsum", {tensor(int32)}, {{"dim", 0}}), int64);
  EXPECT_EQ(dtype("aten.scalar_tensor", {}, {{"s", 1}}), float32);
}

TEST_F(Promotion, RejectsWhatHasNoMeaning) {
  Value* bools = tensor(boolean);
  Value* ints = tensor(int64);
  expect_rejected("aten.sub.Tensor", {bools, ints}, {}, "expected numbers, got bool");
  expect_rejected("aten.add.Tensor", {ints, ints}, {{"alpha", 1.5}}, "an integer alpha");
  expect_rejected("aten.add.Tensor", {ints, ints}, {{"alpha", true}}, "a number for alpha");
  expect_rejected("aten.div.Tensor_mode", {ints, ints}, {{"rounding_mode", "up"}}, "got 'up'");
  expect_rejected("aten.pow.Tensor_Scalar", {ints}, {{"exponent", -1}}, "at least 0");
  expect_rejected("aten.bitwise_and.Tensor", {tensor(float32), ints}, {}, "got float32");
  expect_rejected("aten.gelu", {tensor(float32)}, {{"approximate", "erf"}}, "got 'erf'");
  expect_rejected("aten.silu", {ints}, {}, "a floating dtype, got int64");
  expect_rejected("aten.neg", {bools}, {}, "got bool");
  expect_rejected("aten.clamp", {ints}, {}, "got neither");
  expect_rejected("aten.where.self", {ints, ints, ints}, {}, "a bool condition, got int64");
  expect_rejected("aten.mean", {ints}, {}, "a floating dtype, got int64");
  expect_rejected("aten.copy", {input({2}), input({3})}, {}, "cannot broadcast");
}

}  // namespace
}  // namespace ostinato::ops
