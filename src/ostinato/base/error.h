#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>
#include <vector>

#include "ostinato/error.h"

namespace ostinato {

/// Throws an Error whose message is formatted. The remedy comes before the message, so that the
/// message's arguments can follow it.
template <typename... Args>
[[noreturn]] void fail(ErrorCode code, std::string_view stage, std::string_view hint,
                       fmt::format_string<Args...> message, Args&&... args) {
  throw Error(code, std::string(stage), fmt::format(message, std::forward<Args>(args)...),
              std::string(hint));
}

/// What `action` returns; an Error of it gets `source` in front of its message, such as the file
/// that was being read.
template <typename Action>
auto naming(std::string_view source, Action&& action) -> decltype(action()) {
  try {
    return action();
  } catch (const Error& error) {
    throw Error(error.code(), error.stage(), fmt::format("{}: {}", source, error.message()),
                error.hint());
  }
}

/// Of the candidates the one nearest to `word` by edit distance; empty when none is near enough to
/// be what a person meant.
std::string_view nearest(std::string_view word, const std::vector<std::string_view>& candidates);

}  // namespace ostinato
