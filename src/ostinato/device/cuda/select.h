#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

namespace ostinato::cuda {

/// What there is of one GPU, as far as NVIDIA's management library tells it.
struct Load {
  size_t free_bytes = 0, total_bytes = 0;
  unsigned busy_percent = 0;  ///< of the last second, with work of any process
};

/// The N of `cuda:N`; nothing for `cuda`. Throws `invalid_argument` for anything else.
std::optional<int> ordinal_of(std::string_view name);

/// The GPU with most free memory among the least busy: those within ten percent of the idlest.
/// Throws `not_found` when there is none.
int choose(const std::vector<Load>& loads);

/// Of each GPU in the driver's order, without opening a context on any. Empty where the management
/// library is missing.
std::vector<Load> loads();

}  // namespace ostinato::cuda
