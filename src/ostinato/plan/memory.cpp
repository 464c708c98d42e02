#include "ostinato/plan/memory.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

namespace ostinato::plan {

namespace {

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

/// What the search for a better order may cost: about so many pairs of buffers compared, some
/// milliseconds.
constexpr size_t kMostPairs = size_t{1} << 23;
/// Promotions in a row without a smaller arena after which an order is given up.
constexpr size_t kStubborn = 8;

using Order = std::vector<size_t>;

/// Gives each buffer, in that order, the lowest gap that holds it; returns the arena's size.
size_t place_in_order(std::vector<Buffer>& buffers, const Order& order) {
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

/// Orders worth trying, the one that is best most often first.
std::vector<Order> orders_of(const std::vector<Buffer>& buffers) {
  const auto steps = [&](size_t i) { return buffers[i].last - buffers[i].first + 1; };
  Order order(buffers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::vector<Order> orders;
  const auto add = [&](auto key) {
    orders.push_back(order);
    std::stable_sort(orders.back().begin(), orders.back().end(),
                     [&](size_t a, size_t b) { return key(a) > key(b); });
  };
  add([&](size_t i) { return buffers[i].bytes; });
  add([&](size_t i) { return std::pair(steps(i), buffers[i].bytes); });
  add([&](size_t i) {
    return static_cast<double>(buffers[i].bytes) * static_cast<double>(steps(i));
  });
  orders.push_back(order);  // as they are first written
  return orders;
}

/// Lets the buffers that made the arena as large as it is choose first.
void promote_topmost(const std::vector<Buffer>& buffers, size_t total, Order& order) {
  std::stable_partition(order.begin(), order.end(), [&](size_t i) {
    return buffers[i].bytes > 0 && buffers[i].offset + aligned(buffers[i].bytes) == total;
  });
}

}  // namespace

size_t assign_offsets(std::vector<Buffer>& buffers) {
  const size_t bound = lower_bound(buffers);
  std::vector<Buffer> best;
  size_t least = std::numeric_limits<size_t>::max();
  size_t rounds = kMostPairs / std::max<size_t>(1, buffers.size() * buffers.size());
  for (Order order : orders_of(buffers)) {
    for (size_t round = 0;; ++round) {
      const size_t total = place_in_order(buffers, order);
      if (total < least) {
        least = total;
        best = buffers;
        round = 0;
      }
      if (least == bound) break;
      if (round == kStubborn || rounds == 0) break;
      --rounds;
      promote_topmost(buffers, total, order);
    }
    if (least == bound) break;
  }
  buffers = std::move(best);
  return least;
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
