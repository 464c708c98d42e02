#include "ostinato/plan/memory.h"

#include <gtest/gtest.h>

#include <random>

namespace ostinato::plan {
namespace {

bool overlap(const Buffer& a, const Buffer& b) {
  const bool beside = a.branch.section != 0 && a.branch.section == b.branch.section &&
                      a.branch.side != b.branch.side;
  const bool in_time = beside || (a.first <= b.last && b.first <= a.last);
  const bool in_space = a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
  return in_time && in_space;
}

void expect_sound(const std::vector<Buffer>& buffers, size_t arena) {
  for (size_t i = 0; i < buffers.size(); ++i) {
    EXPECT_EQ(buffers[i].offset % kAlignment, 0u);
    EXPECT_LE(buffers[i].offset + buffers[i].bytes, arena);
    for (size_t j = 0; j < i; ++j) {
      EXPECT_FALSE(overlap(buffers[i], buffers[j])) << "buffers " << j << " and " << i;
    }
  }
}

TEST(AssignOffsets, ReusesWhatIsDead) {
  std::vector<Buffer> chain = {{1024, 0, 1}, {1024, 1, 2}, {1024, 2, 3}, {1024, 3, 4}};
  EXPECT_EQ(assign_offsets(chain), 2048u);
  EXPECT_EQ(lower_bound(chain), 2048u);
  expect_sound(chain, 2048);
}

TEST(AssignOffsets, FillsTheGapBetweenTwoThatLive) {
  std::vector<Buffer> buffers = {{4096, 0, 4}, {2048, 0, 1}, {2048, 0, 4}, {1024, 2, 3}};
  const size_t arena = assign_offsets(buffers);
  EXPECT_EQ(arena, 8192u);
  expect_sound(buffers, arena);
}

// By size alone these take 448 bytes.
TEST(AssignOffsets, TriesOtherOrdersWhereTheBoundIsMissed) {
  std::vector<Buffer> buffers = {{128, 1, 1}, {128, 2, 4}, {192, 3, 4}, {128, 1, 2}};
  EXPECT_EQ(assign_offsets(buffers), 320u);
  EXPECT_EQ(lower_bound(buffers), 320u);
  expect_sound(buffers, 320);
}

// None of the orders is right for these, until what lies on top may choose first.
TEST(AssignOffsets, LetsTheTopmostChooseFirst) {
  std::vector<Buffer> buffers = {{128, 0, 2}, {192, 2, 4}, {64, 4, 4},
                                 {192, 0, 2}, {256, 0, 1}, {320, 3, 3}};
  EXPECT_EQ(assign_offsets(buffers), 576u);
  EXPECT_EQ(lower_bound(buffers), 576u);
  expect_sound(buffers, 576);
}

// Small ones that live on lie between the large ones, whichever chooses first, until large ones are
// put at the top.
TEST(AssignOffsets, PutsLargeBuffersAtTheTop) {
  std::vector<Buffer> buffers = {{64, 2, 4},  {256, 3, 3}, {256, 2, 3}, {64, 2, 4},
                                 {320, 1, 2}, {256, 3, 4}, {192, 4, 4}};
  EXPECT_EQ(assign_offsets(buffers), 896u);  // 960 from the bottom only
  EXPECT_EQ(lower_bound(buffers), 896u);
  expect_sound(buffers, 896);
}

TEST(AssignOffsets, HandlesNothingAndEmptyBuffers) {
  std::vector<Buffer> none;
  EXPECT_EQ(assign_offsets(none), 0u);
  std::vector<Buffer> empty = {{0, 0, 3}, {0, 1, 2}};
  EXPECT_EQ(assign_offsets(empty), 0u);
}

TEST(AssignOffsets, IsSoundAndTightOnRandomLifetimes) {
  std::mt19937 random(7);
  double over = 0;
  constexpr int kRounds = 200;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<Buffer> buffers;
    const size_t steps = 2 + random() % 60;
    for (size_t i = 0; i < 3 * steps; ++i) {
      const size_t first = random() % steps;
      const size_t length = random() % 10 == 0 ? random() % steps : random() % 4;
      buffers.push_back({1 + random() % 100'000, first, std::min(steps - 1, first + length)});
    }
    const size_t arena = assign_offsets(buffers);
    expect_sound(buffers, arena);
    EXPECT_GE(arena, lower_bound(buffers));
    over += static_cast<double>(arena) / static_cast<double>(lower_bound(buffers)) / kRounds;
  }
  EXPECT_LE(over, 1.02);  // 1.07 by size alone
}

// Steps 10 to 29 are a section, every third of them on another side.
TEST(AssignOffsets, KeepsSidesApart) {
  std::mt19937 random(8);
  for (int round = 0; round < 100; ++round) {
    std::vector<Buffer> buffers;
    for (int i = 0; i < 60; ++i) {
      const size_t first = random() % 37, last = first + 3 * (random() % 2);
      Buffer buffer{1 + random() % 10'000, first, last};
      if (first >= 10 && first < 30) buffer.branch = {30, first % 3};
      buffers.push_back(buffer);
    }
    const size_t arena = assign_offsets(buffers);
    expect_sound(buffers, arena);
    EXPECT_GE(arena, lower_bound(buffers));
  }
}

// Each side needs most at another step.
TEST(LowerBound, AddsWhatSidesNeedAtMost) {
  std::vector<Buffer> buffers = {{640, 0, 9}, {64, 1, 1}, {256, 2, 2}, {128, 3, 3}, {64, 4, 4}};
  EXPECT_EQ(lower_bound(buffers), 640u + 256);
  for (size_t i = 1; i < 5; ++i) buffers[i].branch = {5, i / 3};
  EXPECT_EQ(lower_bound(buffers), 640u + 256 + 128);
  EXPECT_EQ(assign_offsets(buffers), 640u + 256 + 128);
}

}  // namespace
}  // namespace ostinato::plan
