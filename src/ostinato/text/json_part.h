#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "ostinato/base/error.h"

namespace ostinato::text {

using Json = nlohmann::json;

/// One object of a `tokenizer.json`, read strictly: a field of a wrong type is an Error that names
/// it by its path, and so is a field that nobody asked for.
class JsonPart {
 public:
  /// @param path such as `pre_tokenizer.pretokenizers[1]`
  JsonPart(const Json& value, std::string path);

  const std::string& path() const { return path_; }
  std::string path(std::string_view field) const;

  /// The field, or null when it is absent or null.
  const Json* find(std::string_view field);
  const Json& require(std::string_view field);

  bool boolean(std::string_view field, std::optional<bool> otherwise = std::nullopt);
  std::string text(std::string_view field);
  std::optional<std::string> optional_text(std::string_view field);
  /// A non-negative integer of at most 2^31 - 1.
  uint32_t count(std::string_view field);
  const Json& array(std::string_view field);
  /// A string of exactly one code point.
  char32_t character(std::string_view field);
  /// The position in `names` of the field's text.
  size_t choice(std::string_view field, std::initializer_list<std::string_view> names);

  /// Refuses whatever fields were not read.
  void finish() const;

  [[noreturn]] void refuse(std::string_view field, std::string_view expected,
                           const Json& got) const;

 private:
  const Json& value_;
  std::string path_;
  std::set<std::string, std::less<>> read_;
};

/// What a value is, for a message: short, whatever its size.
std::string describe(const Json& value);
uint32_t to_count(const Json& value, const std::string& path);
std::string to_text(const Json& value, const std::string& path);

/// Refuses a part whose `type` is unknown, listing those that are known.
[[noreturn]] void refuse_type(const std::string& path, const std::string& type,
                              std::initializer_list<std::string_view> known);

inline constexpr std::string_view kStage = "text/tokenizer";

}  // namespace ostinato::text
