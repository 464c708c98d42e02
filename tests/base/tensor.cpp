#include "ostinato/tensor.h"

#include <limits>

#include "support/expect_error.h"

namespace ostinato {
namespace {

using testing::ElementsAre;

TEST(Tensor, HoldsTheElementsGiven) {
  const Tensor tensor = Tensor::of<int64_t>({2, 2}, {1, 2, 3, 4});
  EXPECT_EQ(tensor.dtype(), DType::int64);
  EXPECT_THAT(tensor.shape(), ElementsAre(2, 2));
  EXPECT_THAT(tensor.values<int64_t>(), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(tensor.bytes(), 32u);
  const std::vector<float> values = {0.5f};
  EXPECT_EQ(Tensor::of<float>({}, values).values<float>()[0], 0.5f);
  EXPECT_EQ(Tensor::of<bool>({2}, {true, false}).dtype(), DType::boolean);
  expect_error(
      [] {
        Tensor::of<float>({3}, {1, 2});
      },
      ErrorCode::invalid_argument, "expected 3 elements for shape (3), got 2");
}

TEST(Tensor, ChecksTheTypeOfItsElements) {
  Tensor tensor = Tensor::of<float>({1}, {1});
  expect_error([&] { tensor.values<int32_t>(); }, ErrorCode::invalid_argument,
               "expected a tensor of int32, got one of float32");
  tensor = tensor.to(DType::bfloat16);
  expect_error([&] { tensor.values<float>(); }, ErrorCode::invalid_argument, "bfloat16");
  EXPECT_EQ(tensor.to(DType::float32).values<float>()[0], 1.0f);
}

TEST(Tensor, IsUndefinedOnceMovedFrom) {
  Tensor tensor = Tensor::of<float>({2}, {1, 2});
  const Tensor copy = tensor;
  const Tensor moved = std::move(tensor);
  EXPECT_EQ(moved.data(), copy.data());
  EXPECT_FALSE(tensor.defined());  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(tensor.numel(), 0);
  EXPECT_EQ(tensor.bytes(), 0u);
  EXPECT_FALSE(tensor.to(DType::int32).defined());
  expect_error([&] { tensor.values<float>(); }, ErrorCode::invalid_argument, "undefined");
  tensor = moved;
  EXPECT_EQ(tensor.values<float>()[1], 2.0f);
}

TEST(Tensor, RefusesShapesAndMemoryThatCannotBe) {
  expect_error([] { Tensor::empty(DType::float32, {-1}); }, ErrorCode::invalid_argument, "-1");
  constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();
  expect_error(
      [] {
        Tensor::empty(DType::float32, {kHuge, 8});
      },
      ErrorCode::invalid_argument, "product");
  expect_error([] { Tensor::empty(DType::uint8, {kHuge}); }, ErrorCode::out_of_memory,
               "to fit into memory");
  expect_error([] { Tensor::borrow(nullptr, DType::float32, {1}, nullptr); },
               ErrorCode::invalid_argument, "null pointer");
  alignas(8) char memory[16] = {};
  expect_error([&] { Tensor::borrow(memory + 2, DType::float32, {1}, nullptr); },
               ErrorCode::invalid_argument, "aligned to the 4 bytes of float32");
  EXPECT_EQ(Tensor::borrow(memory + 8, DType::int64, {1}, nullptr).values<int64_t>()[0], 0);
}

TEST(Tensor, MayHaveNoElements) {
  const Tensor borrowed = Tensor::borrow(nullptr, DType::float32, {0, 3}, nullptr);
  for (const Tensor& tensor : {borrowed, Tensor::empty(DType::float32, {0, 3})}) {
    EXPECT_TRUE(tensor.defined());
    EXPECT_TRUE(tensor.values<float>().empty());
  }
}

TEST(Tensor, LivesAsLongAsItsOwner) {
  const auto owner = std::make_shared<std::vector<float>>(2, 1.0f);
  Tensor tensor = Tensor::borrow(owner->data(), DType::float32, {2}, owner);
  EXPECT_EQ(owner.use_count(), 2);
  tensor = Tensor();
  EXPECT_EQ(owner.use_count(), 1);
}

}  // namespace
}  // namespace ostinato
