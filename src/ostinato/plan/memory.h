#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ostinato/device/device.h"

namespace ostinato::plan {

/// Memory that is needed from the step that first writes it to the step that last touches it, both
/// included.
struct Buffer {
  size_t bytes = 0;
  size_t first = 0, last = 0;
  size_t offset = 0;  ///< in the arena: what the planner decides
  /// The side of a section that alone uses it while the section runs: then it meets every buffer of
  /// another side of it, whatever their steps.
  device::Branch branch = {};
};

/// Every buffer and what the machine likes its addresses to be multiples of, in bytes.
inline constexpr size_t kAlignment = 64;

/// Gives every buffer an offset such that no two that are alive at once overlap, and returns
/// the arena's size. Large buffers choose first, each the lowest gap that holds it (Pisarchyk and
/// Lee, "Efficient Memory Management for Deep Neural Net Inference", greedy by size); where that
/// misses the lower bound, other orders are tried for some milliseconds, from the bottom and with
/// large buffers from the top, and the best one kept.
size_t assign_offsets(std::vector<Buffer>& buffers);

/// The largest sum of bytes alive at one step, or on all sides of a section when each needs most:
/// no plan can need less.
size_t lower_bound(const std::vector<Buffer>& buffers);

}  // namespace ostinato::plan
