#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace ostinato::ir {

/// How a value lies in its storage; everything in elements. Strides may be zero (an expanded dim)
/// or negative.
struct Layout {
  std::vector<int64_t> sizes;
  std::vector<int64_t> strides;
  int64_t offset = 0;

  /// Row-major, without gaps.
  static Layout contiguous(std::vector<int64_t> sizes);

  int64_t numel() const;
  size_t rank() const { return sizes.size(); }

  /// Row-major without gaps, whatever the strides of dims of size one.
  bool is_contiguous() const;

  /// Without gaps or repeats, in whatever order of the dims.
  bool is_dense() const;

  /// Whether each element lies where the other has it, whatever the strides of dims of size one.
  bool coincides(const Layout& other) const;

  /// The same elements in the same order under other sizes; nullopt when that needs a copy. The
  /// rule is the one of `torch.Tensor.view`.
  std::optional<Layout> reshape(const std::vector<int64_t>& new_sizes) const;

  bool operator==(const Layout&) const = default;
};

}  // namespace ostinato::ir
