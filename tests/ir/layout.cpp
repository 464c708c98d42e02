#include "ostinato/ir/layout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace ostinato::ir {
namespace {

/// Where each element lies, in row-major order of the sizes.
std::vector<int64_t> places(const Layout& layout) {
  std::vector<int64_t> result;
  std::vector<int64_t> index(layout.rank(), 0);
  for (int64_t n = layout.numel(); n > 0; --n) {
    int64_t place = layout.offset;
    for (size_t d = 0; d < layout.rank(); ++d) place += index[d] * layout.strides[d];
    result.push_back(place);
    for (size_t d = layout.rank(); d-- > 0;) {
      if (++index[d] < layout.sizes[d]) break;
      index[d] = 0;
    }
  }
  return result;
}

/// Whether any strides put elements of those sizes at these places. The stride of a dim can only be
/// the distance between its first two elements.
bool expressible(const std::vector<int64_t>& at, const std::vector<int64_t>& sizes) {
  Layout layout = Layout::contiguous(sizes);
  if (at.empty()) return true;
  layout.offset = at[0];
  for (size_t d = 0; d < sizes.size(); ++d) {
    if (sizes[d] < 2) continue;
    layout.strides[d] = at[static_cast<size_t>(Layout::contiguous(sizes).strides[d])] - at[0];
  }
  return places(layout) == at;
}

/// Every way to write a number as a product of at most four sizes.
void factorise(int64_t number, std::vector<int64_t>& sizes,
               std::vector<std::vector<int64_t>>& result) {
  if (number == 1) result.push_back(sizes);
  if (sizes.size() == 4) return;
  for (int64_t factor = 1; factor <= number; ++factor) {
    if (number % factor != 0) continue;
    sizes.push_back(factor);
    factorise(number / factor, sizes, result);
    sizes.pop_back();
  }
}

/// A contiguous layout, then permuted, sliced, expanded, flipped, with odd strides at size one.
Layout random_layout(std::mt19937& engine) {
  const auto draw = [&engine](int64_t high) { return static_cast<int64_t>(engine() % (high + 1)); };
  std::vector<int64_t> sizes(static_cast<size_t>(draw(4)));
  for (int64_t& size : sizes) size = 1 + draw(3);
  Layout layout = Layout::contiguous(sizes);
  layout.offset = draw(5) + 200;
  for (size_t d = 0; d < layout.rank(); ++d) {
    switch (draw(8)) {
      case 0: layout.strides[d] = 0; break;
      case 1: layout.strides[d] *= -1; break;
      case 2: layout.strides[d] *= 2; break;
      case 3:
        layout.sizes[d] = 1;
        layout.strides[d] = draw(9);
        break;
      case 4: {
        const auto other = static_cast<size_t>(draw(static_cast<int64_t>(layout.rank()) - 1));
        std::swap(layout.sizes[d], layout.sizes[other]);
        std::swap(layout.strides[d], layout.strides[other]);
        break;
      }
      default: break;
    }
  }
  return layout;
}

TEST(Layout, IsDenseWhereEveryPlaceIsOneElements) {
  std::mt19937 engine(2);
  size_t dense = 0, coinciding = 0;
  for (int round = 0; round < 5000; ++round) {
    const Layout layout = random_layout(engine);
    const std::vector<int64_t> at = places(layout);
    std::vector<int64_t> sorted = at;
    std::sort(sorted.begin(), sorted.end());
    bool expected = true;
    for (size_t i = 0; i < sorted.size(); ++i) {
      expected = expected && sorted[i] == layout.offset + static_cast<int64_t>(i);
    }
    ASSERT_EQ(layout.is_dense(), expected)
        << testing::PrintToString(layout.sizes) << testing::PrintToString(layout.strides);
    dense += expected;
    Layout rows = Layout::contiguous(layout.sizes);
    rows.offset = layout.offset;
    ASSERT_EQ(layout.coincides(rows), at == places(rows));
    coinciding += layout.coincides(rows);
  }
  EXPECT_GT(dense, coinciding + 100);
  EXPECT_GT(coinciding, 300u);
}

TEST(Layout, ReshapesWheneverStridesCan) {
  std::mt19937 engine(1);
  size_t views = 0, copies = 0;
  for (int round = 0; round < 1500; ++round) {
    const Layout layout = random_layout(engine);
    const std::vector<int64_t> at = places(layout);
    std::vector<std::vector<int64_t>> shapes;
    std::vector<int64_t> none;
    factorise(layout.numel(), none, shapes);
    for (const auto& shape : shapes) {
      const auto reshaped = layout.reshape(shape);
      ASSERT_EQ(reshaped.has_value(), expressible(at, shape))
          << testing::PrintToString(layout.sizes) << testing::PrintToString(layout.strides)
          << " to " << testing::PrintToString(shape);
      if (reshaped) {
        ASSERT_EQ(places(*reshaped), at);
      }
      ++(reshaped ? views : copies);
    }
  }
  EXPECT_GT(views, 10000u);
  EXPECT_GT(copies, 10000u);
}

TEST(Layout, ReshapesNothingAndOneElement) {
  EXPECT_EQ(Layout::contiguous({0, 3}).reshape({3, 0, 2})->sizes, (std::vector<int64_t>{3, 0, 2}));
  EXPECT_FALSE(Layout::contiguous({0, 3}).reshape({1}).has_value());
  EXPECT_FALSE(Layout::contiguous({2, 3}).reshape({5}).has_value());
  EXPECT_EQ(Layout::contiguous({}).reshape({1, 1})->sizes, (std::vector<int64_t>{1, 1}));
  EXPECT_EQ(Layout::contiguous({1, 1}).reshape({})->rank(), 0u);
}

}  // namespace
}  // namespace ostinato::ir
