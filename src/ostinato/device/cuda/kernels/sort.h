#pragma once

#include "ostinato/device/cuda/kernels/rows.h"

namespace ostinato::cuda {

inline constexpr int kMostSorted = 2048;  // elements that a block sorts in shared memory

/// What is sorted: an element's order as an unsigned number, and where in its line it is.
template <typename Key>
struct SortEntry {
  Key key;
  uint32_t place;
};

/// The first `kept` elements of lines in order, and where they were. Lines longer than a tile are
/// sorted in tiles, and then by merges of two runs of `width` each. Operands: x, values or none,
/// places, what a merge reads, and what a longer line's tiles or a merge that is not the last
/// write: (lines, length) entries.
struct SortParams {
  Walk lines;  ///< x, values, places: all other dims
  int64_t count, length, kept;
  int64_t x_stride, values_stride, places_stride;
  int64_t width;
  int32_t tile;  ///< a power of two
  int32_t descending;
  Type x;
};

}  // namespace ostinato::cuda
