#pragma once

#include <algorithm>
#include <cstdint>

#include "ostinato/tensor.h"

/// What all products of matrices come down to: a few rows of one matrix times up to 64 columns of
/// another, over the whole inner dim at once, with the sums in registers.
namespace ostinato::cpu {

/// The most columns that a panel has, and of what its width is a multiple.
inline constexpr int64_t kPanelColumns = 64;
inline constexpr int64_t kPanelGroup = 16;

/// Tiles whose sums fill 24 of AVX-512's 32 registers: of most panels, and of narrower ones.
struct TileShape {
  int64_t rows, columns;
};
inline constexpr TileShape kWideTile{6, kPanelColumns}, kHighTile{8, 48};

/// So few rows that they wait for memory; every function of tiles takes as many at once. And the
/// most that one takes.
inline constexpr int64_t kFewRows = 6;
inline constexpr int64_t kMostTileRows = 32;

/// A left row's bytes in one step: a float, or two of bfloat16.
inline constexpr int64_t kLeftStepBytes = 4;

/// c = a · b. One step is one element of the inner dim, or two that lie side by side in bfloat16:
/// there each row of `b` holds pairs, one a column.
struct Tile {
  const void* a;     ///< `rows` rows, each with its elements side by side
  int64_t a_stride;  ///< bytes from row to row
  const void* b;     ///< `steps` rows of `columns`
  int64_t b_stride;  ///< bytes from step to step
  int64_t steps;
  float* c;
  int64_t c_stride;  ///< floats from row to row
  int64_t rows;      ///< from 1 to what the function takes
  int64_t columns;   ///< from 1 to `kPanelColumns`; for `multiply` a multiple of `kPanelGroup`
  /// What `multiply` asks the caches for, in each step as much as it reads of `b`, and so many
  /// bytes further each time. Null for nothing.
  const char* ahead;
  int64_t ahead_stride;
  /// The L1 cache asks for it, not the L2 cache. Until memory answers that takes one of its few
  /// miss buffers, for which the lines of `b` wait that the L2 cache has; but asking again is free.
  /// On AMX it always asks: nobody has measured there.
  bool ahead_near;
  bool add;  ///< `multiply` adds to what `c` holds
};

/// What makes such products, and the most rows that it takes at once.
struct TileFunction {
  using Run = void (*)(const Tile& tile);
  Run run;
  int64_t rows;

  TileFunction(Run function = nullptr, int64_t most = kFewRows) : run(function), rows(most) {}
  void operator()(const Tile& tile) const { run(tile); }
};

/// How a dtype is multiplied at the current ISA, by panels of one width.
struct TileKernel {
  DType a;          ///< of the left rows: float32 for float16, else the dtype itself
  DType b;          ///< of the right matrix: the dtype itself
  int64_t depth;    ///< elements of the inner dim in a step: two for bfloat16, else one
  int64_t columns;  ///< the most of a panel, whatever the ISA

  TileFunction multiply;
  /// The same when it is the columns of `b` whose elements lie side by side, `b_stride` bytes from
  /// column to column, and `steps` counts elements whatever the dtype.
  TileFunction dot;
  /// a · b with a of float32 and b's rows as they lie in a contiguous matrix, whatever the dtype.
  TileFunction multiply_plain;

  int64_t steps(int64_t inner) const { return (inner + depth - 1) / depth; }
};

/// @param dtype float32, bfloat16 or float16
/// @param inner elements of the inner dim: if a full panel of them crowded others out of the L2
///     cache, panels are narrower, and tiles higher
TileKernel tile_kernel(DType dtype, int64_t inner = 0);

/// How many rows of those that are left make the next tile of at most so many: two tiles of even
/// height are faster than a full one and a flat one.
inline int64_t next_tile_rows(int64_t left, int64_t most) {
  if (left >= 2 * most) return most;
  return left > most ? (left + 1) / 2 : left;
}

/// The product of two tiles' rows, which wait for memory together: both pass a few steps of `b`
/// before the next ones, so that it is read once, evenly, and lies in the L1 cache for the second.
inline void multiply_by_pieces(TileFunction multiply, const Tile& all) {
  constexpr int64_t kPiece = 32;
  Tile tile = all;
  tile.ahead_stride = all.b_stride / 2;
  for (int64_t step = 0; step < all.steps; step += kPiece) {
    tile.steps = std::min(kPiece, all.steps - step);
    tile.b = static_cast<const char*>(all.b) + step * all.b_stride;
    tile.ahead = static_cast<const char*>(tile.b) + kPiece * all.b_stride;
    tile.add = step > 0;
    for (int64_t row = 0; row < all.rows; row += tile.rows) {
      tile.rows = next_tile_rows(all.rows - row, multiply.rows);
      tile.a = static_cast<const char*>(all.a) + row * all.a_stride + step * kLeftStepBytes;
      tile.c = all.c + row * all.c_stride;
      multiply(tile);
      tile.ahead += tile.steps * tile.ahead_stride;
    }
  }
}

/// Rows times one panel, tile by tile: `finish(c, row, rows)` is called with each tile's sums, in
/// rows of `kPanelColumns`.
/// @param all the product of all rows; its `c` is not used, and its `ahead` is the panel that
///     follows, or null
template <typename F>
void for_each_tile(TileFunction multiply, const Tile& all, F&& finish) {
  constexpr int64_t kFarSteps = 16;  // more than the processor's own prefetching sees
  constexpr int64_t kFewTiles = 4;   // wait for memory; each of more asks for the same lines again
  constexpr int64_t kNear = 32 << 10;  // an L1 cache: a panel is there for the second tile anyway
  alignas(64) float sums[kMostTileRows * kPanelColumns];
  Tile tile = all;
  tile.c = sums;
  tile.c_stride = kPanelColumns;
  const int64_t tiles = (all.rows + multiply.rows - 1) / multiply.rows;
  tile.ahead_near = tiles == 1 || tiles > kFewTiles;
  if (tiles == 2 && all.rows <= kMostTileRows && all.steps * all.b_stride > kNear) {
    multiply_by_pieces(multiply, tile);
    return finish(static_cast<const float*>(sums), 0, all.rows);
  }
  if (tiles == 1 && all.steps > 0) {
    tile.ahead = static_cast<const char*>(all.b) + kFarSteps * all.b_stride;
    tile.ahead_stride = all.b_stride;
  } else {
    tile.ahead_stride = (all.b_stride + tiles - 1) / tiles;  // each tile's share
  }
  for (int64_t row = 0; row < all.rows; row += tile.rows) {
    tile.rows = next_tile_rows(all.rows - row, multiply.rows);
    tile.a = static_cast<const char*>(all.a) + row * all.a_stride;
    multiply(tile);
    if (tile.ahead != nullptr) tile.ahead += tile.steps * tile.ahead_stride;
    finish(static_cast<const float*>(sums), row, tile.rows);
  }
}

/// `multiply` for bfloat16 with AVX512-BF16's dot product; only where `isa()` has that.
/// @param high for panels of `kHighTile`
TileFunction multiply_bf16_native(bool high);

/// The same on AMX's tiles, of up to `kMostTileRows`; only where `isa()` has those.
void multiply_bf16_amx(const Tile& tile);

}  // namespace ostinato::cpu
