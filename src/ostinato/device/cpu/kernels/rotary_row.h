#pragma once

#include <cstdint>

#include "ostinato/tensor.h"

/// Rotary embeddings of single rows.
namespace ostinato::cpu {

/// Turns the first `rotated` elements of a row of `count`; the rest passes.
using RotaryRow = void (*)(const void* x, const void* cos, const void* sin, void* y,
                           int64_t rotated, int64_t count);

/// Null for dtypes that it is not there for.
RotaryRow rotary_row(DType x, DType cos, DType y, bool interleaved);

}  // namespace ostinato::cpu
