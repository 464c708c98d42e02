#pragma once

#include <functional>
#include <string_view>

namespace ostinato {

/// Called now and then by what takes long: what is being done, and how much of it is done, in
/// [0, 1]; the last call says 1. May be empty.
using Progress = std::function<void(std::string_view what, double share)>;

}  // namespace ostinato
