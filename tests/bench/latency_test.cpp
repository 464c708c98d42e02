#include "ostinato/bench/latency.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace ostinato::bench {
namespace {

std::vector<double> one_to(size_t n) {
  std::vector<double> samples(n);
  std::iota(samples.rbegin(), samples.rend(), 1.0);  // descending: order must not matter
  return samples;
}

TEST(Summarise, HasTheTextbookFigures) {
  const Latency l = summarise({4, 1, 2, 3, 10});
  EXPECT_EQ(l.n, 5u);
  EXPECT_DOUBLE_EQ(l.mean, 4);
  EXPECT_DOUBLE_EQ(l.std, 3.5355339059327378);
  EXPECT_DOUBLE_EQ(l.p50, 3);
  EXPECT_DOUBLE_EQ(l.mad, 1);
  EXPECT_DOUBLE_EQ(l.min, 1);
  EXPECT_DOUBLE_EQ(l.max, 10);
}

TEST(Summarise, QuotesAPercentileOnlyWithEnoughSamples) {
  EXPECT_FALSE(summarise(one_to(63)).p90);
  EXPECT_TRUE(summarise(one_to(64)).p90);
  EXPECT_FALSE(summarise(one_to(129)).p95);
  EXPECT_DOUBLE_EQ(*summarise(one_to(141)).p95, 134);
  EXPECT_FALSE(summarise(one_to(661)).p99);
  EXPECT_DOUBLE_EQ(*summarise(one_to(701)).p99, 694);
}

TEST(Summarise, TakesNoneAndOne) {
  EXPECT_EQ(summarise({}).n, 0u);
  const Latency one = summarise({7});
  EXPECT_DOUBLE_EQ(one.p50, 7);
  EXPECT_DOUBLE_EQ(one.std, 0);
}

TEST(GainOf, SplitsTheWholeBetweenPassesAndReplay) {
  const Gain gain = gain_of({.eager = 12, .eager_optimised = 8, .graph_unfused = 6, .graph = 3});
  EXPECT_DOUBLE_EQ(gain.passes_op_by_op, 1.5);
  EXPECT_DOUBLE_EQ(gain.passes_replayed, 2);
  EXPECT_DOUBLE_EQ(gain.replay_unfused, 2);
  EXPECT_NEAR(gain.replay_optimised, 8.0 / 3, 1e-12);
  EXPECT_NEAR(gain.passes, std::sqrt(3.0), 1e-12);
  EXPECT_NEAR(gain.passes * gain.replay, 4, 1e-12);
}

}  // namespace
}  // namespace ostinato::bench
