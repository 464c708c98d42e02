#include "ostinato/device/cuda/launches.h"

namespace ostinato::cuda {

std::optional<Lines> lines_of(int64_t dim, const std::vector<const device::TensorDesc*>& tensors) {
  std::vector<int64_t> sizes = tensors[0]->sizes();
  std::vector<std::vector<int64_t>> strides;
  for (const device::TensorDesc* tensor : tensors) strides.push_back(tensor->strides());
  Lines lines{{}, 1, 1, std::vector<int64_t>(tensors.size(), 0)};
  if (!sizes.empty()) {
    const size_t at = front_dim(dim, sizes.size());
    lines.length = sizes[at];
    sizes.erase(sizes.begin() + static_cast<std::ptrdiff_t>(at));
    for (size_t k = 0; k < strides.size(); ++k) {
      lines.strides[k] = strides[k][at];
      strides[k].erase(strides[k].begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
  for (const int64_t size : sizes) lines.count *= size;
  const auto walk = walk_of(sizes, strides);
  if (!walk || lines.count > kMostBlocks) return std::nullopt;
  lines.walk = *walk;
  return lines;
}

}  // namespace ostinato::cuda
