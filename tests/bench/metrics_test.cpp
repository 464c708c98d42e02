#include "ostinato/bench/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ostinato/base/error.h"
#include "ostinato/base/float16.h"

namespace ostinato::bench {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

Tensor floats(const std::vector<float>& values) {
  Tensor tensor = Tensor::empty(DType::float32, {static_cast<int64_t>(values.size())});
  std::copy(values.begin(), values.end(), tensor.as<float>());
  return tensor;
}

Closeness closeness(const std::vector<float>& golden, const std::vector<float>& candidate) {
  return compare({{"y", floats(golden)}}, {{"y", floats(candidate)}}).overall;
}

TEST(Compare, PassesWhatIsEqual) {
  const Closeness equal = closeness({1, -2, 3}, {1, -2, 3});
  EXPECT_EQ(equal.verdict, Verdict::pass);
  EXPECT_DOUBLE_EQ(equal.cosine, 1);
  EXPECT_EQ(equal.max_abs_diff, 0);
}

TEST(Compare, HasTheDefinitionsOfItsFigures) {
  const Closeness c = closeness({3, 4, 0}, {3, 4.5, 0.25});
  EXPECT_NEAR(c.cosine, (9 + 18) / (5 * std::sqrt(9 + 20.25 + 0.0625)), 1e-12);
  EXPECT_DOUBLE_EQ(c.max_abs_diff, 0.5);
  EXPECT_DOUBLE_EQ(c.mean_abs_diff, 0.25);
  EXPECT_DOUBLE_EQ(c.max_rel_diff, 0.125);  // the zero is below the floor
  EXPECT_DOUBLE_EQ(c.mean_rel_diff, 0.0625);
  EXPECT_NEAR(c.below_floor_share, 1.0 / 3, 1e-12);
  EXPECT_DOUBLE_EQ(c.rel_floor, 4e-3);
}

TEST(Compare, JudgesAtTheGates) {
  EXPECT_EQ(closeness({1, 1}, {1, 1.0009f}).verdict, Verdict::pass);
  EXPECT_EQ(closeness({1, 1}, {1, 1.0011f}).verdict, Verdict::pass_cosine);
  EXPECT_EQ(closeness({1, 0}, {1, 0.0443f}).verdict, Verdict::pass_cosine);  // cosine 0.99902
  EXPECT_EQ(closeness({1, 0}, {1, 0.0450f}).verdict, Verdict::fail);         // cosine 0.99899
}

TEST(Compare, KnowsZeroVectors) {
  EXPECT_EQ(closeness({0, 0}, {0, 0}).cosine, 1);
  EXPECT_EQ(closeness({0, 0}, {0, 1e-6f}).cosine, 0);
  EXPECT_EQ(closeness({0, 0}, {0, 1e-6f}).verdict, Verdict::fail);
  EXPECT_EQ(closeness({}, {}).verdict, Verdict::pass);
}

TEST(Compare, FailsANanOrInfinityThatGoldenDoesNotHave) {
  EXPECT_EQ(closeness({1, 2}, {1, kNan}).verdict, Verdict::fail);
  EXPECT_EQ(closeness({1, 2}, {kInfinity, 2}).verdict, Verdict::fail);
  EXPECT_EQ(closeness({1, kNan}, {1, 2}).verdict, Verdict::fail);
  EXPECT_EQ(closeness({1, kInfinity}, {1, -kInfinity}).verdict, Verdict::fail);
  EXPECT_EQ(closeness({1, kNan, kInfinity}, {1, kNan, kInfinity}).verdict, Verdict::pass);
}

TEST(Compare, WantsIntegersEqual) {
  Tensor a = Tensor::empty(DType::int64, {2}), b = Tensor::empty(DType::int64, {2});
  a.as<int64_t>()[0] = b.as<int64_t>()[0] = 100'000;
  a.as<int64_t>()[1] = 5;
  b.as<int64_t>()[1] = 6;
  EXPECT_EQ(compare({{"ids", a}}, {{"ids", b}}).overall.verdict, Verdict::fail);
  EXPECT_EQ(compare({{"ids", a}}, {{"ids", a}}).overall.verdict, Verdict::pass);
}

TEST(Compare, TakesTheWorstLeafAndCountsTop1) {
  const Tensor a = floats({1, 2, 3, 1}), b = floats({1, 2, 1, 3});
  const auto square = [](const Tensor& t) {
    return Tensor::borrow(const_cast<void*>(t.data()), DType::float32, {2, 2}, nullptr);
  };
  const Accuracy accuracy =
      compare({{"same", a}, {"logits", square(a)}}, {{"logits", square(b)}, {"same", a}});
  EXPECT_EQ(accuracy.overall.verdict, Verdict::fail);
  EXPECT_EQ(accuracy.leaves[0].second.verdict, Verdict::pass);
  EXPECT_EQ(accuracy.overall.top1_match_rate, 0.5);
}

TEST(Compare, RefusesOtherNamesShapesAndKinds) {
  const Tensor a = floats({1, 2}), b = floats({1, 2, 3}), c = Tensor::empty(DType::int64, {2});
  EXPECT_THROW(compare({{"x", a}}, {{"y", a}}), Error);
  EXPECT_THROW(compare({{"x", a}}, {{"x", b}}), Error);
  EXPECT_THROW(compare({{"x", a}}, {{"x", c}}), Error);
  EXPECT_THROW(compare({{"x", a}}, {}), Error);
}

TEST(Compare, TakesLanesOfAnotherFloatingDtype) {
  const Tensor a = floats({1, 2});
  EXPECT_EQ(compare({{"x", a}}, {{"x", a.to(DType::bfloat16)}}).overall.verdict, Verdict::pass);
}

TEST(Perplexity, IsTheVocabularyForEqualLogits) {
  const Tensor logits = [] {
    Tensor t = Tensor::empty(DType::float32, {1, 4, 10});
    std::fill_n(t.as<float>(), 40, 0.5f);
    return t;
  }();
  EXPECT_NEAR(perplexity(logits, std::vector<int64_t>{0, 1, 2, 3}), 10, 1e-9);
}

TEST(Perplexity, IsOfTheNextTokens) {
  // Row 0 gives the token 1 a probability of 3/4; the last row predicts nothing that is there.
  Tensor logits = Tensor::empty(DType::float32, {1, 2, 2});
  const float values[] = {0, std::log(3.0f), 100, 0};
  std::copy(std::begin(values), std::end(values), logits.as<float>());
  EXPECT_NEAR(perplexity(logits, std::vector<int64_t>{0, 1}), 4.0 / 3, 1e-6);
}

}  // namespace
}  // namespace ostinato::bench
