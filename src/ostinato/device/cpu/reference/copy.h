#pragma once

#include "ostinato/device/cpu/reference/reference.h"

/// Copies between parts of tensors, which is all that views, joins and lookups compute.
namespace ostinato::cpu::reference {

/// A part of a tensor: its first element and its strides, of which there is one a size.
struct Part {
  const View& view;
  int64_t offset;
  std::vector<int64_t> strides;

  Part(const View& whole) : view(whole), offset(0), strides(whole.strides()) {}
  Part(const View& of, int64_t first, std::vector<int64_t> steps)
      : view(of), offset(first), strides(std::move(steps)) {}
};

/// Copies `sizes` elements; converts where the dtypes differ. The parts must not overlap.
void copy(const Part& to, const Part& from, const std::vector<int64_t>& sizes);

/// Copies a tensor to another of the same shape.
void copy(const View& to, const View& from);

/// Sets every element of a part to a scalar.
void fill(const Part& to, const ir::Attribute& value, const std::vector<int64_t>& sizes);

/// A tensor's strides under a shape that it broadcasts to.
std::vector<int64_t> broadcast_strides(const View& view, const std::vector<int64_t>& sizes);

/// A dim as an index from the front.
size_t front_dim(int64_t dim, size_t rank);

/// Wraps a negative position; false when it is out of range.
bool wrap(int64_t& position, int64_t size);

}  // namespace ostinato::cpu::reference
