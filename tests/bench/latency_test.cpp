#include "ostinato/bench/latency.h"

#include <gtest/gtest.h>

#include <algorithm>
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

}  // namespace
}  // namespace ostinato::bench
