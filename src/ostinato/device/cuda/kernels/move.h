#pragma once

#include "ostinato/device/cuda/kernels/rows.h"

namespace ostinato::cuda {

/// Writes a value into a cache from a position on. Operands: cache, value, position (int64).
struct CacheParams {
  Walk walk;  ///< value, cache
  int64_t count;
  int64_t position_stride;  ///< of the cache
  int64_t most;             ///< the last position that there is room for it
  Type value, cache;
};

/// x·cos + rotate_half(x)·sin. Operands: x, cos, sin, y.
struct RotaryParams {
  Walk walk;  ///< x, cos, sin; all dims but the last
  int64_t rows, length, rotated;
  int64_t x_stride, cos_stride, sin_stride;  ///< along the last dim
  int32_t interleaved;
  Type x, cos, sin, y;
};

/// first + i·step. Operands: y.
struct ArangeParams {
  int64_t count;
  double first, step;
  int64_t first_integer, step_integer;
  Type y;
};

/// x turned around along its dims. Operands: x, y, which lies side by side.
struct RollParams {
  int64_t count;
  int64_t sizes[kMaxDims], strides[kMaxDims], shifts[kMaxDims];  ///< shifts below the sizes
  int32_t dims;
  Type type;
};

/// What lies on one side of a diagonal, zeros on the other. Operands: x, y, which lies side by
/// side.
struct TriangleParams {
  Walk walk;  ///< x
  int64_t count, rows, columns, diagonal;
  int32_t lower;
  Type type;
};

}  // namespace ostinato::cuda
