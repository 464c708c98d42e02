#include "ostinato/ir/layout.h"

#include <algorithm>

namespace ostinato::ir {

Layout Layout::contiguous(std::vector<int64_t> sizes) {
  Layout layout{std::move(sizes), {}, 0};
  layout.strides.resize(layout.rank());
  int64_t stride = 1;
  for (size_t i = layout.rank(); i-- > 0;) {
    layout.strides[i] = stride;
    stride *= layout.sizes[i] > 0 ? layout.sizes[i] : 1;
  }
  return layout;
}

int64_t Layout::numel() const {
  int64_t count = 1;
  for (int64_t size : sizes) count *= size;
  return count;
}

bool Layout::is_contiguous() const {
  if (numel() == 0) return true;
  int64_t expected = 1;
  for (size_t i = rank(); i-- > 0;) {
    if (sizes[i] == 1) continue;
    if (strides[i] != expected) return false;
    expected *= sizes[i];
  }
  return true;
}

bool Layout::is_dense() const {
  if (numel() == 0) return true;
  int64_t expected = 1;
  auto left = std::count_if(sizes.begin(), sizes.end(), [](int64_t size) { return size != 1; });
  for (; left > 0; --left) {
    size_t d = 0;
    while (d < rank() && (sizes[d] == 1 || strides[d] != expected)) ++d;
    if (d == rank()) return false;
    expected *= sizes[d];
  }
  return true;
}

bool Layout::coincides(const Layout& other) const {
  if (sizes != other.sizes || offset != other.offset) return false;
  for (size_t i = 0; i < rank(); ++i) {
    if (sizes[i] != 1 && strides[i] != other.strides[i]) return false;
  }
  return true;
}

std::optional<Layout> Layout::reshape(const std::vector<int64_t>& new_sizes) const {
  Layout result = contiguous(new_sizes);
  result.offset = offset;
  if (numel() == 0 || result.numel() != numel()) {
    if (result.numel() != numel()) return std::nullopt;
    return result;
  }
  if (rank() == 0) return result;  // one element: any strides do
  // Walk the old dims from the innermost in chunks that are contiguous in themselves; every chunk
  // must be covered by whole new dims.
  size_t next = new_sizes.size();
  int64_t chunk = 1;  // elements of the old dims in the current chunk
  int64_t chunk_stride = strides.back();
  int64_t covered = 1;  // elements of the new dims given strides within the chunk
  for (size_t i = rank(); i-- > 0;) {
    chunk *= sizes[i];
    const bool chunk_ends = i == 0 || (sizes[i - 1] != 1 && strides[i - 1] != chunk * chunk_stride);
    if (!chunk_ends) continue;
    while (next > 0 && (covered < chunk || new_sizes[next - 1] == 1)) {
      --next;
      result.strides[next] = covered * chunk_stride;
      covered *= new_sizes[next];
    }
    if (covered != chunk) return std::nullopt;
    if (i > 0) {
      chunk_stride = strides[i - 1];
      chunk = covered = 1;
    }
  }
  return next == 0 ? std::optional<Layout>(result) : std::nullopt;
}

}  // namespace ostinato::ir
