#include "ostinato/plan/memory.h"

#include <algorithm>
#include <numeric>

namespace ostinato::plan {

namespace {

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

size_t assign_offsets(std::vector<Buffer>& buffers) {
  std::vector<size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return buffers[a].bytes > buffers[b].bytes; });
  std::vector<const Buffer*> placed;  // sorted by offset
  size_t total = 0;
  for (size_t i : order) {
    Buffer& buffer = buffers[i];
    if (buffer.bytes == 0) continue;
    const size_t bytes = aligned(buffer.bytes);
    size_t offset = 0;
    for (const Buffer* other : placed) {
      if (other->last < buffer.first || buffer.last < other->first) continue;
      if (other->offset >= offset + bytes) break;  // the gap before it is large enough
      offset = std::max(offset, other->offset + aligned(other->bytes));
    }
    buffer.offset = offset;
    const auto at = std::upper_bound(placed.begin(), placed.end(), offset,
                                     [](size_t o, const Buffer* b) { return o < b->offset; });
    placed.insert(at, &buffer);
    total = std::max(total, offset + bytes);
  }
  return total;
}

size_t lower_bound(const std::vector<Buffer>& buffers) {
  size_t steps = 0;
  for (const Buffer& buffer : buffers) steps = std::max(steps, buffer.last + 1);
  std::vector<int64_t> change(steps + 1, 0);
  for (const Buffer& buffer : buffers) {
    change[buffer.first] += static_cast<int64_t>(aligned(buffer.bytes));
    change[buffer.last + 1] -= static_cast<int64_t>(aligned(buffer.bytes));
  }
  int64_t alive = 0, most = 0;
  for (int64_t delta : change) {
    alive += delta;
    most = std::max(most, alive);
  }
  return static_cast<size_t>(most);
}

}  // namespace ostinato::plan
