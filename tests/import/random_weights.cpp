#include "ostinato/import/random_weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numbers>

#include "ostinato/base/dtype.h"
#include "ostinato/base/memory.h"
#include "ostinato/import/weights.h"
#include "support/expect_error.h"

namespace ostinato::importer {
namespace {

using Words = std::array<uint32_t, 4>;

Tensor filled(DType dtype, std::vector<int64_t> shape, const Init& init, uint64_t key) {
  Tensor tensor = Tensor::empty(dtype, std::move(shape));
  fill_random(tensor, init, key, 0, tensor.numel());
  return tensor;
}

// The known answers that come with Random123, the authors' library.
TEST(Philox, GivesTheKnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({~0u, ~0u, ~0u, ~0u}, ~uint64_t{0}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomWeights, AreNormal) {
  constexpr int64_t kCount = 1 << 20;
  constexpr double kDeviation = 0.02;
  const Tensor weight = filled(DType::float32, {kCount}, Init::normal(kDeviation), 1);
  double moments[5] = {};
  int64_t within = 0;
  for (int64_t i = 0; i < kCount; ++i) {
    const double z = weight.as<float>()[i] / kDeviation;
    for (int k = 1; k <= 4; ++k) moments[k] += std::pow(z, k) / kCount;
    within += std::abs(z) < 1;
  }
  // Five standard errors of each moment of a normal sample.
  const double error = 5 / std::sqrt(static_cast<double>(kCount));
  EXPECT_NEAR(moments[1], 0, error);
  EXPECT_NEAR(moments[2], 1, error * std::sqrt(2));
  EXPECT_NEAR(moments[3], 0, error * std::sqrt(15));
  EXPECT_NEAR(moments[4], 3, error * std::sqrt(96));
  EXPECT_NEAR(static_cast<double>(within) / kCount, std::erf(1 / std::numbers::sqrt2), error);
}

TEST(RandomWeights, AreCutAtTwo) {
  constexpr int64_t kCount = 1 << 16;
  const Tensor weight = filled(DType::float32, {kCount}, Init::truncated_normal(1.0), 2);
  double square = 0;
  for (int64_t i = 0; i < kCount; ++i) {
    const double z = weight.as<float>()[i];
    ASSERT_LE(std::abs(z), 2);
    square += z * z / kCount;
  }
  // The variance of a standard normal cut at ±2: 1 - 4φ(2)/(2Φ(2)-1).
  EXPECT_NEAR(square, 0.7737, 0.02);
}

TEST(RandomWeights, AreTheSameHoweverTheyAreCut) {
  constexpr int64_t kCount = 1003;
  const Init init = Init::normal(1.0, 3);
  const Tensor whole = filled(DType::float32, {59, 17}, init, 3);
  Tensor parts = Tensor::empty(DType::float32, {59, 17});
  for (const auto& [begin, end] : {std::pair{500, 1003}, {0, 20}, {20, 500}}) {
    fill_random(parts, init, 3, begin, end);
  }
  EXPECT_EQ(std::memcmp(whole.data(), parts.data(), kCount * sizeof(float)), 0);
}

TEST(RandomWeights, RoundTheSameValuesToEachDtype) {
  const Tensor wide = filled(DType::float32, {999}, Init::normal(0.02), 4);
  for (const DType dtype : {DType::bfloat16, DType::float16}) {
    const Tensor narrow = filled(dtype, {999}, Init::normal(0.02), 4);
    const Tensor rounded = wide.to(dtype);
    EXPECT_EQ(std::memcmp(narrow.data(), rounded.data(), narrow.bytes()), 0) << name_of(dtype);
  }
}

TEST(RandomWeights, HaveAZeroRowWhereThePaddingIs) {
  const Tensor weight = filled(DType::float32, {8, 16}, Init::normal(1.0, 5), 5);
  for (int64_t i = 0; i < weight.numel(); ++i) {
    EXPECT_EQ(weight.as<float>()[i] == 0, i / 16 == 5) << i;
  }
}

TEST(RandomWeights, DifferBySeedAndByName) {
  EXPECT_NE(random_key(0, "a"), random_key(0, "b"));
  EXPECT_NE(random_key(0, "a"), random_key(1, "a"));
  const std::vector<Parameter> parameters = {{"a", {64}, Init::normal(1)},
                                             {"b", {64}, Init::normal(1)}};
  const Weights first = random_weights(parameters, DType::float32, 0);
  const Weights again = random_weights(parameters, DType::float32, 0);
  const Weights other = random_weights(parameters, DType::float32, 1);
  const auto same = [](const Tensor& a, const Tensor& b) {
    return std::memcmp(a.data(), b.data(), a.bytes()) == 0;
  };
  EXPECT_TRUE(same(first.at("a"), again.at("a")));
  EXPECT_FALSE(same(first.at("a"), first.at("b")));
  EXPECT_FALSE(same(first.at("a"), other.at("a")));
}

// Each could be had, and all together could not: they are refused before one is filled.
TEST(RandomWeights, FitIntoMemoryTogether) {
  const auto most = static_cast<int64_t>(available_memory() / 8);
  std::vector<Parameter> parameters;
  for (const char* name : {"a", "b", "c"}) parameters.push_back({name, {most}, Init::zeros()});
  expect_error([&] { random_weights(parameters, DType::float32, 0); }, ErrorCode::out_of_memory,
               "the weights");
}

}  // namespace
}  // namespace ostinato::importer
