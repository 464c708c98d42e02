#pragma once

#include <cstdint>

#include "ostinato/tensor.h"

namespace ostinato::cpu {

/// Converts adjacent elements: floats round to nearest even, floats to integers truncate, anything
/// but zero is true.
using Convert = void (*)(const void* from, void* to, int64_t count);

/// Never null; for equal dtypes a copy.
Convert find_convert(DType from, DType to);

}  // namespace ostinato::cpu
