#include "ostinato/base/threads.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <set>
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

TEST(Shares, GiveEachItemOnce) {
  constexpr int64_t kItems = 20'000;
  Share share;
  for (int round = 0; round < 3; ++round) {
    share.deal(kItems);
    std::vector<std::atomic<int>> given(kItems);
    std::vector<std::thread> takers;
    for (int i = 0; i < 4; ++i) {
      takers.emplace_back([&share, &given, i] {
        int64_t item;
        while ((item = i < 2 ? share.take_first() : share.take_last()) >= 0) {
          ++given[static_cast<size_t>(item)];
        }
      });
    }
    for (std::thread& taker : takers) taker.join();
    for (const std::atomic<int>& times : given) ASSERT_EQ(times, 1);
    EXPECT_EQ(share.take_first(), -1);
    EXPECT_EQ(share.take_last(), -1);
  }
  share.deal(3);
  EXPECT_EQ(share.take_first(), 0);
  EXPECT_EQ(share.take_last(), 2);
  EXPECT_EQ(share.take_first(), 1);
}

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

/// Takes so many pieces of work, each of which must be done once.
void expect_taken(ThreadTeam& team, std::set<std::thread::id>& takers) {
  constexpr size_t kPieces = 4;
  std::atomic<size_t> claimed{0};
  std::array<std::thread::id, kPieces> by{};
  team.invite([&](Worker) {
    for (size_t piece; (piece = claimed.fetch_add(1)) < kPieces;) {
      EXPECT_EQ(by[piece], std::thread::id());
      by[piece] = std::this_thread::get_id();
      const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(5);
      while (std::chrono::steady_clock::now() < until) continue;
    }
  });
  for (const std::thread::id& id : by) {
    EXPECT_NE(id, std::thread::id());
    takers.insert(id);
  }
}

TEST_F(Threads, MayComeWhenTheyAreInvited) {
  for (int size : {1, 2, 4}) {
    ThreadTeam team(size);
    std::set<std::thread::id> takers;
    for (int i = 0; i < 200; ++i) {
      expect_taken(team, takers);
      if (i % 20 == 0) expect_works(team);
      if (i % 50 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (size > 1 && takers.size() < 2 && std::chrono::steady_clock::now() < until) {
      expect_taken(team, takers);
    }
    EXPECT_EQ(takers.size() > 1, size > 1);
  }
}

// They would have to be woken: nobody waits for that.
TEST_F(Threads, AreNotInvitedToWhatAnotherRuntimeDoes) {
  share_threads_of(&kRuntime);
  ThreadTeam team(kThreads);
  std::set<std::thread::id> takers;
  for (int i = 0; i < 20; ++i) expect_taken(team, takers);
  EXPECT_EQ(takers.size(), 1u);
  EXPECT_EQ(regions, 0);
}

}  // namespace
}  // namespace ostinato
