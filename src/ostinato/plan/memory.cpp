#include "ostinato/plan/memory.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <map>
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

bool meet(const Buffer& a, const Buffer& b) {
  const bool beside = a.branch.section != 0 && a.branch.section == b.branch.section &&
                      a.branch.side != b.branch.side;
  return beside || (a.first <= b.last && b.first <= a.last);
}

/// Buffers; those that have their offsets are sorted by them.
using Buffers = std::vector<const Buffer*>;

size_t lowest_gap(const Buffers& placed, const Buffer& buffer) {
  const size_t bytes = aligned(buffer.bytes);
  size_t offset = 0;
  for (const Buffer* other : placed) {
    if (!meet(*other, buffer)) continue;
    if (other->offset >= offset + bytes) break;  // the gap before it is large enough
    offset = std::max(offset, other->offset + aligned(other->bytes));
  }
  return offset;
}

/// Below the ceiling, or the lowest gap where there is none.
size_t highest_gap(const Buffers& placed, const Buffer& buffer, size_t ceiling) {
  const auto end_of = [](const Buffer* other) { return other->offset + aligned(other->bytes); };
  Buffers met;
  std::copy_if(placed.begin(), placed.end(), std::back_inserter(met),
               [&](const Buffer* other) { return meet(*other, buffer); });
  std::sort(met.begin(), met.end(),
            [&](const Buffer* a, const Buffer* b) { return end_of(a) > end_of(b); });
  const size_t bytes = aligned(buffer.bytes);
  size_t top = ceiling;
  for (const Buffer* other : met) {
    if (end_of(other) + bytes <= top) break;
    top = std::min(top, other->offset);
  }
  return top >= bytes ? top - bytes : lowest_gap(placed, buffer);
}

/// Gives each buffer, in that order, the lowest gap that holds it, or below the ceiling the highest
/// to those of at least `large` bytes; returns the arena's size.
size_t place_in_order(std::vector<Buffer>& buffers, const Order& order, size_t large,
                      size_t ceiling) {
  Buffers placed;
  size_t total = 0;
  for (size_t i : order) {
    Buffer& buffer = buffers[i];
    if (buffer.bytes == 0) continue;
    buffer.offset =
        buffer.bytes >= large ? highest_gap(placed, buffer, ceiling) : lowest_gap(placed, buffer);
    const auto at = std::upper_bound(placed.begin(), placed.end(), buffer.offset,
                                     [](size_t o, const Buffer* b) { return o < b->offset; });
    placed.insert(at, &buffer);
    total = std::max(total, buffer.offset + aligned(buffer.bytes));
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

/// The largest sum of bytes alive at one step.
size_t peak_of(const Buffers& buffers) {
  size_t steps = 0;
  for (const Buffer* buffer : buffers) steps = std::max(steps, buffer->last + 1);
  std::vector<int64_t> change(steps + 1, 0);
  for (const Buffer* buffer : buffers) {
    change[buffer->first] += static_cast<int64_t>(aligned(buffer->bytes));
    change[buffer->last + 1] -= static_cast<int64_t>(aligned(buffer->bytes));
  }
  int64_t alive = 0, most = 0;
  for (int64_t delta : change) {
    alive += delta;
    most = std::max(most, alive);
  }
  return static_cast<size_t>(most);
}

}  // namespace

size_t assign_offsets(std::vector<Buffer>& buffers) {
  const size_t bound = lower_bound(buffers);
  std::vector<Buffer> best;
  size_t least = std::numeric_limits<size_t>::max();
  size_t rounds = kMostPairs / std::max<size_t>(1, buffers.size() * buffers.size());
  size_t largest = 0;
  for (const Buffer& buffer : buffers) largest = std::max(largest, buffer.bytes);
  const std::vector<Order> orders = orders_of(buffers);
  // From the bottom all; then large ones from the top, so that small ones that live on do not end
  // up between them.
  for (const size_t large : {std::numeric_limits<size_t>::max(), largest / 2}) {
    for (Order order : orders) {
      for (size_t round = 0;; ++round) {
        const size_t total = place_in_order(buffers, order, large, bound);
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
    if (least == bound) break;
  }
  buffers = std::move(best);
  return least;
}

size_t lower_bound(const std::vector<Buffer>& buffers) {
  Buffers all;
  std::map<size_t, std::map<size_t, Buffers>> sections;  // and sides
  for (const Buffer& buffer : buffers) {
    all.push_back(&buffer);
    const auto [section, side] = buffer.branch;
    if (section != 0) sections[section][side].push_back(&buffer);
  }
  size_t most = peak_of(all);
  for (const auto& [section, sides] : sections) {
    size_t sum = 0;
    // What is no side's own is alive over the whole section, if at its end.
    for (const Buffer& buffer : buffers) {
      const bool is_alive = buffer.first < section && section <= buffer.last + 1;
      if (buffer.branch.section != section && is_alive) sum += aligned(buffer.bytes);
    }
    for (const auto& [side, own] : sides) sum += peak_of(own);
    most = std::max(most, sum);
  }
  return most;
}

}  // namespace ostinato::plan
