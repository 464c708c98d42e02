#pragma once

#include "ostinato/device/cpu/reference/elementwise.h"

/// What reductions, scans and sorts share: the elements that belong together.
namespace ostinato::cpu::reference {

/// Calls `f(index, position, values)` for each group of elements that differ in the marked dims
/// only: the indices of the first, the group's place in row-major order, and the elements, rounded
/// to a dtype first. T is float or int64_t.
template <typename T, typename F>
void for_each_group(const View& x, const std::vector<bool>& marked, DType dtype, F&& f) {
  std::vector<int64_t> groups = x.sizes(), sizes = x.sizes();
  for (size_t d = 0; d < x.rank(); ++d) (marked[d] ? groups : sizes)[d] = 1;
  const device::TensorDesc desc{x.dtype(), {sizes, x.strides(), 0}};
  std::vector<T> values(static_cast<size_t>(desc.numel()));
  for_each_index(groups, [&](std::span<const int64_t> index, int64_t position) {
    const int64_t bytes = x.offset(index) * static_cast<int64_t>(size_of(x.dtype()));
    const View group(static_cast<std::byte*>(x.data()) + bytes, desc);
    const Source elements(group, dtype);
    size_t read = 0;
    for_each_row(sizes, [&](std::span<const int64_t> row, int64_t length) {
      elements.read<T>(row, {values.data() + read, static_cast<size_t>(length)});
      read += static_cast<size_t>(length);
    });
    f(index, position, std::span<const T>(values));
  });
}

/// A mark on one dim, counted from the end when negative.
inline std::vector<bool> mark(int64_t dim, size_t rank) {
  std::vector<bool> marked(rank, false);
  if (rank > 0)
    marked[static_cast<size_t>(dim < 0 ? dim + static_cast<int64_t>(rank) : dim)] = true;
  return marked;
}

/// The order of sorts and extrema, in which NaN is greater than all numbers.
template <typename T>
bool precedes(T a, T b) {
  return a < b || (a == a && b != b);
}

}  // namespace ostinato::cpu::reference
