#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ostinato/device/device.h"

namespace ostinato::cpu {

/// One operand's stride along each dim of a shape, in bytes.
using Strides = std::vector<int64_t>;

/// A walk in row-major order through one shape, with several strided operands in step. Made once
/// by a factory: adjacent dims that all operands can walk as one are merged, dims of size one left
/// out.
struct Loops {
  static constexpr size_t kMaxRank = 16;
  static constexpr size_t kMaxOperands = 8;
  using Offsets = std::array<int64_t, kMaxOperands>;

  size_t rank = 1;  ///< at least 1; the last dim is the innermost
  size_t operands = 0;
  std::array<int64_t, kMaxRank> sizes{1};
  std::array<Offsets, kMaxRank> strides{};  ///< bytes, by dim and operand

  int64_t inner() const { return sizes[rank - 1]; }
  const Offsets& inner_strides() const { return strides[rank - 1]; }
  int64_t rows() const;   ///< the product of all sizes but the innermost
  int64_t count() const;  ///< the product of all sizes
};

/// Nullopt when more than `Loops::kMaxRank` dims are left after merging.
std::optional<Loops> make_loops(std::span<const int64_t> sizes, std::span<const Strides> strides);

/// A position in `Loops`: on its rows (all dims but the innermost), or on single elements.
template <bool by_row>
class Cursor {
 public:
  Cursor(const Loops& loops, int64_t position)
      : loops_(loops), dims_(by_row ? loops.rank - 1 : loops.rank) {
    if (position == 0) return;  // an empty shape has no other
    for (size_t d = dims_; d-- > 0;) {
      index_[d] = position % loops.sizes[d];
      position /= loops.sizes[d];
      for (size_t k = 0; k < loops.operands; ++k) offsets_[k] += index_[d] * loops.strides[d][k];
    }
  }

  /// Of an operand's element here (of the row's first), in bytes.
  int64_t offset(size_t operand) const { return offsets_[operand]; }

  void next() {
    for (size_t d = dims_; d-- > 0;) {
      const Loops::Offsets& step = loops_.strides[d];
      for (size_t k = 0; k < loops_.operands; ++k) offsets_[k] += step[k];
      if (++index_[d] < loops_.sizes[d]) return;
      for (size_t k = 0; k < loops_.operands; ++k) offsets_[k] -= loops_.sizes[d] * step[k];
      index_[d] = 0;
    }
  }

 private:
  const Loops& loops_;
  size_t dims_;
  std::array<int64_t, Loops::kMaxRank> index_{};
  Loops::Offsets offsets_{};
};
using RowCursor = Cursor<true>;
using ElementCursor = Cursor<false>;

/// The strides of a tensor as an operand of a larger shape, broadcast by NumPy's rules.
Strides broadcast_strides(const device::TensorDesc& desc, std::span<const int64_t> sizes);

/// The strides of a tensor in bytes.
Strides byte_strides(const device::TensorDesc& desc);

/// A dim counted from the end when negative; a scalar counts as rank 1.
size_t wrap_dim(int64_t dim, size_t rank);

/// A pointer moved by bytes.
inline const char* at(const void* base, int64_t bytes) {
  return static_cast<const char*>(base) + bytes;
}
inline char* at(void* base, int64_t bytes) { return static_cast<char*>(base) + bytes; }

/// Copies `count` elements that lie `stride` bytes apart (0: the same one) to adjacent places.
void gather(const void* source, int64_t stride, size_t element_size, void* target, int64_t count);

/// The reverse: adjacent elements to places `stride` bytes apart.
void spread(const void* source, void* target, int64_t stride, size_t element_size, int64_t count);

}  // namespace ostinato::cpu
