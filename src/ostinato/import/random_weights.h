#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "ostinato/tensor.h"

namespace ostinato::importer {

/// How transformers' `_init_weights` starts a weight.
struct Init {
  enum class Kind { zeros, ones, normal, truncated_normal };
  Kind kind = Kind::zeros;
  double deviation = 0;
  std::optional<int64_t> zero_row = {};  ///< of a normal matrix: the row that is zero

  static Init zeros() { return {}; }
  static Init ones() { return {Kind::ones}; }
  static Init normal(double deviation, std::optional<int64_t> zero_row = {}) {
    return {Kind::normal, deviation, zero_row};
  }
  /// Cut at ±2, as torch.nn.init.trunc_normal_ does.
  static Init truncated_normal(double deviation) { return {Kind::truncated_normal, deviation}; }
};

/// Four random words for a counter and a key: Philox4x32-10 (Salmon et al., "Parallel random
/// numbers: as easy as 1, 2, 3", SC 2011).
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, uint64_t key);

/// A key for one of the things that a seed makes, such as a weight by its name.
uint64_t random_key(uint64_t seed, std::string_view name);

/// Fills elements [begin, end) of a weight; any cut into parts gives the same weight. `begin` must
/// be a multiple of 4.
void fill_random(Tensor& weight, const Init& init, uint64_t key, int64_t begin, int64_t end);

}  // namespace ostinato::importer
