#include "ostinato/base/threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <utility>
#include <vector>

namespace ostinato {
namespace {

// A runtime that starts threads for each region, and gives but one within a region.
std::atomic<int> regions{0};
thread_local int region_size = 1, region_index = 0;
constexpr int kThreads = 3;

void parallel(void (*body)(void*), void* data, unsigned threads, unsigned) {
  ++regions;
  if (region_size > 1) {
    const int size = std::exchange(region_size, 1);
    body(data);
    region_size = size;
    return;
  }
  const auto work = [=](int index) {
    region_size = static_cast<int>(threads);
    region_index = index;
    body(data);
    region_size = 1;
    region_index = 0;
  };
  std::vector<std::thread> crew;
  for (unsigned i = 1; i < threads; ++i) crew.emplace_back(work, i);
  work(0);
  for (std::thread& member : crew) member.join();
}

constexpr OpenMp kRuntime{parallel, [] { return kThreads; }, [] { return region_size; },
                          [] { return region_index; }};

class Threads : public testing::Test {
 protected:
  void SetUp() override { regions = 0; }
  void TearDown() override { share_threads_of(nullptr); }

  /// Two rounds with a barrier between: every worker must see what all did in the first.
  static void expect_works(ThreadTeam& team) {
    const int size = team.size();
    std::vector<std::atomic<int>> first(static_cast<size_t>(size));
    std::atomic<int> sum{0};
    team.run([&](Worker worker) {
      ASSERT_EQ(worker.count, size);
      first[static_cast<size_t>(worker.index)] = worker.index + 1;
      team.barrier();
      for (const auto& value : first) sum += value;
    });
    EXPECT_EQ(sum, size * size * (size + 1) / 2);
  }
};

TEST_F(Threads, WorkTogether) {
  for (int size : {1, 2, kThreads, 5}) {
    ThreadTeam team(size);
    for (int i = 0; i < 20; ++i) expect_works(team);
  }
}

TEST_F(Threads, WorkOnAnotherRuntimesOfTheSameNumber) {
  share_threads_of(&kRuntime);
  ThreadTeam team(kThreads), other(kThreads + 1), alone(1);
  for (int i = 0; i < 20; ++i) expect_works(team);
  EXPECT_EQ(regions, 20);
  expect_works(other);
  expect_works(alone);
  EXPECT_EQ(regions, 20);
  share_threads_of(nullptr);  // its own, then
  expect_works(team);
  EXPECT_EQ(regions, 20);
}

TEST_F(Threads, WorkAloneWithinARegion) {
  share_threads_of(&kRuntime);
  parallel(
      [](void*) {
        ThreadTeam team(kThreads);
        for (int i = 0; i < 3; ++i) expect_works(team);
      },
      nullptr, 2, 0);
  EXPECT_EQ(regions, 1 + 2 * 3);
}

}  // namespace
}  // namespace ostinato
