#include "ostinato/device/cpu/kernels/tile.h"

#include <gtest/gtest.h>

#include <vector>

#include "device/amx_emulator.h"
#include "device/kernel_case.h"
#include "ostinato/base/dtype.h"
#include "support/random.h"

namespace ostinato::cpu {
namespace {

// Of eighths no sum here rounds, so that every order of adding gives the same.
float eighth(Random& random) { return static_cast<float>(random(-16, 16)) / 8; }

struct Problem {
  int64_t rows, columns, steps;
  bool add;
};

void expect_product_of_pairs(TileFunction multiply, const Problem& problem) {
  const auto [rows, columns, steps, add] = problem;
  SCOPED_TRACE(testing::Message() << rows << " x " << steps << " x " << columns
                                  << (add ? ", added" : ""));
  Random random(7);
  // Rows of both sides are longer than what is multiplied.
  const int64_t a_row = 2 * steps + 6, b_row = 2 * columns + 32, c_row = columns + 3;
  constexpr float kBefore = -12345;
  std::vector<bfloat16> a(static_cast<size_t>(rows * a_row));
  std::vector<bfloat16> b(static_cast<size_t>(steps * b_row + 1));
  std::vector<float> c(static_cast<size_t>(rows * c_row), kBefore);
  for (bfloat16& value : a) value = from_float<bfloat16>(eighth(random));
  for (bfloat16& value : b) value = from_float<bfloat16>(eighth(random));
  Tile tile{};
  tile.a = a.data();
  tile.a_stride = a_row * 2;
  tile.b = b.data();
  tile.b_stride = b_row * 2;
  tile.steps = steps;
  tile.c = c.data();
  tile.c_stride = c_row;
  tile.rows = rows;
  tile.columns = columns;
  tile.ahead = reinterpret_cast<const char*>(b.data());
  tile.ahead_stride = 64;
  tile.add = add;
  multiply(tile);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < c_row; ++j) {
      float want = j < columns && !add ? 0 : kBefore;
      for (int64_t k = 0; k < 2 * steps && j < columns; ++k) {
        want += to_float(a[static_cast<size_t>(i * a_row + k)]) *
                to_float(b[static_cast<size_t>(k / 2 * b_row + 2 * j + k % 2)]);
      }
      ASSERT_EQ(c[static_cast<size_t>(i * c_row + j)], want) << i << ", " << j;
    }
  }
}

TEST(Tile, MultipliesPairsOnEveryLevel) {
  for_each_isa([&](Isa) {
    for (const int64_t inner : {1, 1 << 20}) {
      const TileKernel kernel = tile_kernel(DType::bfloat16, inner);
      for (int64_t rows = 1; rows <= kernel.multiply.rows; ++rows) {
        for (int64_t columns = 16; columns <= kernel.columns; columns += 16) {
          for (const int64_t steps : {0, 1, 15, 16, 17, 40}) {
            for (const bool add : {false, true}) {
              expect_product_of_pairs(kernel.multiply, {rows, columns, steps, add});
              EXPECT_EQ(tiles_in_use(), 0);
            }
          }
        }
      }
    }
  });
}

// However many rows: one tile, two that take turns at pieces of the steps, or more.
TEST(Tile, CutsRowsIntoTiles) {
  constexpr int64_t kMostRows = 26, kMostSteps = 300;
  Random random(8);
  std::vector<float> a(kMostRows * kMostSteps), b(kMostSteps * kPanelColumns);
  for (float& value : a) value = eighth(random);
  for (float& value : b) value = eighth(random);
  for_each_isa([&](Isa) {
    const TileFunction multiply = tile_kernel(DType::float32).multiply;
    for (int64_t rows = 1; rows <= kMostRows; ++rows) {
      for (const int64_t steps : {0L, 1L, 31L, 130L, 160L, kMostSteps}) {
        SCOPED_TRACE(testing::Message() << rows << " x " << steps);
        Tile all{};
        all.a = a.data();
        all.a_stride = kMostSteps * 4;
        all.b = b.data();
        all.b_stride = kPanelColumns * 4;
        all.steps = steps;
        all.rows = rows;
        all.columns = kPanelColumns;
        int64_t next = 0;
        for_each_tile(multiply, all, [&](const float* c, int64_t row, int64_t count) {
          ASSERT_EQ(row, next);
          next += count;
          for (int64_t i = 0; i < count; ++i) {
            for (int64_t j = 0; j < kPanelColumns; ++j) {
              float want = 0;
              for (int64_t k = 0; k < steps; ++k) {
                want += a[static_cast<size_t>((row + i) * kMostSteps + k)] *
                        b[static_cast<size_t>(k * kPanelColumns + j)];
              }
              ASSERT_EQ(c[i * kPanelColumns + j], want) << row + i << ", " << j;
            }
          }
        });
        EXPECT_EQ(next, rows);
      }
    }
  });
}

}  // namespace
}  // namespace ostinato::cpu
