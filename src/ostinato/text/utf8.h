#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ostinato::text {

/// What stands in for bytes that are no UTF-8.
inline constexpr char32_t kReplacementCharacter = 0xFFFD;

/// What the bytes from some position on are.
struct Utf8Step {
  enum class Kind {
    valid,      ///< a whole code point
    invalid,    ///< a maximal subpart that can never become a code point
    truncated,  ///< the beginning of a code point, cut off by the end of the bytes
  };
  Kind kind;
  size_t length;  ///< bytes that the step covers, at least 1
};

/// Looks at `bytes` from `at` on (`at < bytes.size()`), as Table 3-7 of the Unicode Standard says.
Utf8Step utf8_step(std::string_view bytes, size_t at);

/// The position of the first byte that is not UTF-8.
std::optional<size_t> find_invalid_utf8(std::string_view bytes);

bool is_valid_utf8(std::string_view bytes);

/// `bytes` with every maximal invalid subpart replaced by U+FFFD, which is what Python's
/// `bytes.decode("utf-8", errors="replace")` and Rust's `from_utf8_lossy` give.
std::string replace_invalid_utf8(std::string_view bytes);

/// Bytes of the code point that begins with the byte `lead` of valid UTF-8.
inline size_t utf8_length(char lead) {
  const auto byte = static_cast<uint8_t>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

inline bool is_continuation(char byte) { return (static_cast<uint8_t>(byte) & 0xC0) == 0x80; }

/// The code point at `at` of valid UTF-8.
inline char32_t code_point_at(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[at + i]); };
  switch (utf8_length(text[at])) {
    case 1: return byte(0);
    case 2: return (byte(0) & 0x1Fu) << 6 | (byte(1) & 0x3Fu);
    case 3: return (byte(0) & 0x0Fu) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu);
    default:
      return (byte(0) & 0x07u) << 18 | (byte(1) & 0x3Fu) << 12 | (byte(2) & 0x3Fu) << 6 |
             (byte(3) & 0x3Fu);
  }
}

/// Calls `visit(code_point, first_byte, length)` for every code point of valid UTF-8.
template <typename Visit>
void for_each_code_point(std::string_view text, Visit visit) {
  for (size_t at = 0; at < text.size();) {
    const size_t length = utf8_length(text[at]);
    visit(code_point_at(text, at), at, length);
    at += length;
  }
}

/// The last code point of valid, non-empty UTF-8.
char32_t last_code_point(std::string_view text);

void append_utf8(std::string& out, char32_t code_point);
size_t count_code_points(std::string_view text);

}  // namespace ostinato::text
