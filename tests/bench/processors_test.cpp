#include "ostinato/bench/processors.h"

#include <gmock/gmock.h>

#include <thread>

namespace ostinato::bench {
namespace {

using testing::ElementsAre;

TEST(ChooseProcessors, TakesEveryCoreBeforeASecondThreadOfOne) {
  const auto neighbours = [](int processor) { return processor / 2; };  // 0 and 1 share a core
  EXPECT_THAT(choose_processors({0, 1, 2, 3}, 2, neighbours), ElementsAre(0, 2));
  EXPECT_THAT(choose_processors({0, 1, 2, 3}, 3, neighbours), ElementsAre(0, 1, 2));
  EXPECT_THAT(choose_processors({1, 5, 6, 7}, 3, neighbours), ElementsAre(1, 5, 6));
}

TEST(ChooseProcessors, TakesAllThereAre) {
  const auto own = [](int processor) { return processor; };
  EXPECT_THAT(choose_processors({3, 4}, 8, own), ElementsAre(3, 4));
}

TEST(PinTo, KeepsThreadsThatComeAfterToo) {
  const std::vector<int> before = allowed_processors();
  ASSERT_FALSE(before.empty());
  std::thread([&] {
    pin_to({before.back()});
    EXPECT_THAT(allowed_processors(), ElementsAre(before.back()));
    std::thread([&] { EXPECT_THAT(allowed_processors(), ElementsAre(before.back())); }).join();
  }).join();
  EXPECT_EQ(allowed_processors(), before);
}

}  // namespace
}  // namespace ostinato::bench
