#include "ostinato/base/memory.h"

#include <gtest/gtest.h>

#include "ostinato/tensor.h"
#include "support/expect_error.h"

namespace ostinato {
namespace {

TEST(Memory, RefusesWhatThereIsNot) {
  EXPECT_GT(available_memory(), size_t{1} << 20);
  require_memory(1, "a byte", "None.");
  expect_error([] { require_memory(size_t{1} << 62, "the weights", "Use fewer."); },
               ErrorCode::out_of_memory, "expected the weights to fit into memory, got 4.0 EiB of");
}

TEST(Memory, CountsInUnitsThatAPersonReads) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1536), "1.5 KiB");
  EXPECT_EQ(human_bytes(size_t{5} << 30), "5.0 GiB");
}

// The kernel would promise it, and kill the process that fills it.
TEST(Memory, OfATensorIsCheckedBeforeItIsFilled) {
  const auto half = static_cast<int64_t>(available_memory() / 2);
  expect_error([&] { Tensor::empty(DType::float32, {half}); }, ErrorCode::out_of_memory,
               "float32 " + std::to_string(half));
  expect_error([] { Tensor::empty(DType::float32, {int64_t{1} << 61}); },
               ErrorCode::invalid_argument, "fits in memory");
  expect_error([] { Tensor::empty(DType::uint8, {-1}); }, ErrorCode::invalid_argument, "-1");
}

}  // namespace
}  // namespace ostinato
