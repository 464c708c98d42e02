#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <string_view>

namespace ostinato::cli {

/// Opens /dev/null for each of stdin, stdout and stderr that is closed, so that no file of the
/// engine gets its number and what is printed ends in that. Writing to such a stdout still fails.
void guard_standard_files();

/// Writes to stdout; throws `io` when it cannot, such as on a full disk: what is printed is the
/// result, and half a result with exit code 0 would be a lie.
void write_output(std::string_view text);
void flush_output();

template <typename... Args>
void output(fmt::format_string<Args...> format, Args&&... args) {
  write_output(fmt::format(format, std::forward<Args>(args)...));
}

/// Writes to stderr; where that fails there is nobody left to tell.
template <typename... Args>
void print_error(fmt::format_string<Args...> format, Args&&... args) {
  std::fputs(fmt::format(format, std::forward<Args>(args)...).c_str(), stderr);
}

/// A JSON value as text in UTF-8, whatever bytes its strings have.
template <typename AnyJson>
std::string dump(const AnyJson& value, int indent = -1) {
  return value.dump(indent, ' ', false, AnyJson::error_handler_t::replace);
}

}  // namespace ostinato::cli
