#include <hwy/base.h>
#include <immintrin.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "ostinato/device/cpu/kernels/tile.h"

// Highway has no tiles, hence the intrinsics.
HWY_PUSH_ATTRIBUTES("avx512f,avx512bf16,amx-tile,amx-bf16")

namespace ostinato::cpu {

namespace {

constexpr int64_t kRows = 16, kLineBytes = 64;  // of a tile register
constexpr int64_t kSteps = 16;                  // of the inner dim, that a tile holds
constexpr int64_t kColumns = 16;

// What a tile register holds, as `ldtilecfg` reads it (Intel SDM, volume 1, 18.2). Of the eight, 0
// to 3 are sums of the upper and the lower rows, two groups of columns each; 4 and 5 are the upper
// and the lower rows of the left matrix; 6 and 7 are the groups of the right one.
struct alignas(64) Shapes {
  uint8_t palette = 1, start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  Shapes(int64_t upper, int64_t lower) {
    const int64_t heights[8] = {upper, upper, lower, lower, upper, lower, kSteps, kSteps};
    for (int t = 0; t < 8; ++t) {
      rows[t] = static_cast<uint8_t>(heights[t]);
      row_bytes[t] = heights[t] == 0 ? 0 : kLineBytes;
    }
  }
};
static_assert(sizeof(Shapes) == 64);

// What is there of one or two groups of columns, and of the lower rows.
struct Halves {
  bool lower, right;
};

// Compilers do not know what the instructions for tiles read.
void before_tiles_read() { std::atomic_signal_fence(std::memory_order_seq_cst); }

void clear_sums(Halves there) {
  _tile_zero(0);
  if (there.right) _tile_zero(1);
  if (there.lower) _tile_zero(2);
  if (there.lower && there.right) _tile_zero(3);
}

// Strides are in bytes.
void load_sums(const float* c, int64_t stride, Halves there) {
  _tile_loadd(0, c, stride);
  if (there.right) _tile_loadd(1, c + kColumns, stride);
  if (!there.lower) return;
  const float* lower = c + kRows * stride / static_cast<int64_t>(sizeof(float));
  _tile_loadd(2, lower, stride);
  if (there.right) _tile_loadd(3, lower + kColumns, stride);
}

inline void add_products(const char* a, int64_t a_stride, const char* b, int64_t b_stride,
                         Halves there) {
  _tile_loadd(6, b, b_stride);
  if (there.right) _tile_loadd(7, b + kLineBytes, b_stride);
  _tile_loadd(4, a, a_stride);
  _tile_dpbf16ps(0, 4, 6);
  if (there.right) _tile_dpbf16ps(1, 4, 7);
  if (!there.lower) return;
  _tile_loadd(5, a + kRows * a_stride, a_stride);
  _tile_dpbf16ps(2, 5, 6);
  if (there.right) _tile_dpbf16ps(3, 5, 7);
}

void store_sums(float* c, int64_t stride, Halves there) {
  _tile_stored(0, c, stride);
  if (there.right) _tile_stored(1, c + kColumns, stride);
  if (!there.lower) return;
  float* lower = c + kRows * stride / static_cast<int64_t>(sizeof(float));
  _tile_stored(2, lower, stride);
  if (there.right) _tile_stored(3, lower + kColumns, stride);
}

// The last steps, fewer than a tile's, with zeros after them.
void add_last_products(const char* a, const char* b, int64_t steps, const Tile& tile,
                       Halves there) {
  alignas(64) char left[kMostTileRows * kLineBytes] = {};
  alignas(64) char right[kSteps * 2 * kLineBytes] = {};
  for (int64_t r = 0; r < tile.rows; ++r) {
    std::memcpy(left + r * kLineBytes, a + r * tile.a_stride, static_cast<size_t>(steps) * 4);
  }
  const size_t width = there.right ? 2 * kLineBytes : kLineBytes;
  for (int64_t s = 0; s < steps; ++s) {
    std::memcpy(right + s * 2 * kLineBytes, b + s * tile.b_stride, width);
  }
  before_tiles_read();
  add_products(left, kLineBytes, right, 2 * kLineBytes, there);
}

// Two groups of columns, or the last one.
void multiply_columns(const Tile& tile, int64_t column) {
  const Halves there{tile.rows > kRows, tile.columns > column + kColumns};
  const char* a = static_cast<const char*>(tile.a);
  const char* b = static_cast<const char*>(tile.b) + column * 4;
  const char* ahead = tile.ahead == nullptr ? nullptr : tile.ahead + column * 4;
  float* c = tile.c + column;
  const int64_t c_stride = tile.c_stride * static_cast<int64_t>(sizeof(float));
  if (tile.add) {
    before_tiles_read();
    load_sums(c, c_stride, there);
  } else {
    clear_sums(there);
  }
  int64_t left = tile.steps;
  for (; left >= kSteps; left -= kSteps) {
    for (int64_t s = 0; s < kSteps && ahead != nullptr; ++s, ahead += tile.ahead_stride) {
      __builtin_prefetch(ahead);
      __builtin_prefetch(ahead + kLineBytes);
    }
    add_products(a, tile.a_stride, b, tile.b_stride, there);
    a += kLineBytes;
    b += kSteps * tile.b_stride;
  }
  if (left > 0) add_last_products(a, b, left, tile, there);
  store_sums(c, c_stride, there);
}

}  // namespace

void multiply_bf16_amx(const Tile& tile) {
  // A tile of few rows takes as long to read the right matrix as one of many.
  if (tile.rows <= kFewRows) return multiply_bf16_native(false)(tile);
  static_assert(kMostTileRows == 2 * kRows && kPanelColumns == 4 * kColumns);
  const int64_t upper = std::min(tile.rows, kRows);
  const Shapes shapes(upper, tile.rows - upper);
  before_tiles_read();
  _tile_loadconfig(&shapes);
  for (int64_t column = 0; column < tile.columns; column += 2 * kColumns) {
    multiply_columns(tile, column);
  }
  _tile_release();  // so that a switch between threads need not save them
}

}  // namespace ostinato::cpu

HWY_POP_ATTRIBUTES
