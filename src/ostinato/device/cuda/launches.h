#pragma once

#include <algorithm>

#include "ostinato/device/cuda/elementwise.h"

/// What most factories make their launches with.
namespace ostinato::cuda {

inline Use input(size_t index) { return {Use::Of::input, index, 0}; }
inline Use output(size_t index = 0) { return {Use::Of::output, index, 0}; }
/// @param offset in bytes
inline Use scratch(size_t offset = 0) { return {Use::Of::scratch, 0, offset}; }
inline Use none() { return {Use::Of::none, 0, 0}; }

/// A dim counted from the front, of one that is counted from the end when negative.
inline size_t front_dim(int64_t dim, size_t rank) {
  return static_cast<size_t>(dim < 0 ? dim + static_cast<int64_t>(rank) : dim);
}

/// A launch of the kernel `name` on so many blocks.
template <typename Params>
Launch over_blocks(Functions& functions, const std::string& name, int64_t blocks, unsigned threads,
                   std::vector<Use> operands, const Params& params) {
  Launch launch;
  launch.function = functions.find(name);
  launch.threads = threads;
  launch.grid[0] = static_cast<unsigned>(blocks);
  launch.operands = std::move(operands);
  launch.params = bytes_of_params(params);
  return launch;
}

/// The same, whose threads share out so many elements.
template <typename Params>
Launch over_elements(Functions& functions, const std::string& name, int64_t count,
                     std::vector<Use> operands, const Params& params) {
  constexpr unsigned kThreads = 256;
  return over_blocks(functions, name, blocks_for(count, kThreads, functions), kThreads,
                     std::move(operands), params);
}

/// A block's threads for a row of that length: whole warps, four elements each.
inline unsigned threads_for(int64_t length) {
  constexpr int64_t kMost = 256, kEach = 4;
  return static_cast<unsigned>(std::clamp<int64_t>((length / kEach + 31) / 32 * 32, 32, kMost));
}

/// A kernel of these launches, one after the other.
inline std::unique_ptr<Kernel> kernel_of(std::vector<Launch> launches, size_t scratch_bytes = 0) {
  auto kernel = std::make_unique<Kernel>();
  kernel->scratch = scratch_bytes;
  for (Launch& launch : launches) kernel->work.push_back({std::move(launch), nullptr});
  return kernel;
}

inline constexpr int64_t kMostBlocks = 0x7fffffff;  // along a grid's first dim

/// Tensors of the same sizes but along one dim, seen as lines along that.
struct Lines {
  Walk walk;                     ///< all other dims
  int64_t count;                 ///< of lines
  int64_t length;                ///< of the first tensor's
  std::vector<int64_t> strides;  ///< along the line, of each tensor
};

/// Along a dim, counted from the end when negative; a scalar is one line of one element. Nothing
/// where a kernel cannot walk the others, or blocks cannot be counted by lines.
/// @param tensors at most three
std::optional<Lines> lines_of(int64_t dim, const std::vector<const device::TensorDesc*>& tensors);

}  // namespace ostinato::cuda
