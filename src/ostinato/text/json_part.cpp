#include "ostinato/text/json_part.h"

#include <fmt/ranges.h>

#include <limits>

#include "ostinato/base/error.h"
#include "ostinato/text/utf8.h"

namespace ostinato::text {

namespace {

constexpr std::string_view kRemedy =
    "Use a tokenizer.json that the tokenizers library wrote, and check that it is not damaged.";

[[noreturn]] void refuse_value(const std::string& path, std::string_view expected,
                               const Json& got) {
  fail(ErrorCode::corrupt, kStage, kRemedy, "expected {} to be {}, got {}", path, expected,
       describe(got));
}

}  // namespace

JsonPart::JsonPart(const Json& value, std::string path) : value_(value), path_(std::move(path)) {
  if (!value.is_object()) refuse_value(path_, "an object", value);
}

std::string JsonPart::path(std::string_view field) const {
  return path_.empty() ? std::string(field) : fmt::format("{}.{}", path_, field);
}

const Json* JsonPart::find(std::string_view field) {
  read_.emplace(field);
  const auto found = value_.find(field);
  return found == value_.end() || found->is_null() ? nullptr : &*found;
}

const Json& JsonPart::require(std::string_view field) {
  const Json* found = find(field);
  if (!found) {
    fail(ErrorCode::corrupt, kStage, kRemedy, "expected a field {}, got none", path(field));
  }
  return *found;
}

bool JsonPart::boolean(std::string_view field, std::optional<bool> otherwise) {
  const Json* found = otherwise ? find(field) : &require(field);
  if (!found) return *otherwise;
  if (!found->is_boolean()) refuse(field, "true or false", *found);
  return found->get<bool>();
}

std::string JsonPart::text(std::string_view field) { return to_text(require(field), path(field)); }

std::optional<std::string> JsonPart::optional_text(std::string_view field) {
  if (!find(field)) return std::nullopt;
  return text(field);
}

uint32_t JsonPart::count(std::string_view field) { return to_count(require(field), path(field)); }

const Json& JsonPart::array(std::string_view field) {
  const Json& value = require(field);
  if (!value.is_array()) refuse(field, "an array", value);
  return value;
}

char32_t JsonPart::character(std::string_view field) {
  const std::string value = text(field);
  if (count_code_points(value) != 1) refuse(field, "one character", require(field));
  return code_point_at(value, 0);
}

size_t JsonPart::choice(std::string_view field, std::initializer_list<std::string_view> names) {
  const std::string value = text(field);
  for (size_t i = 0; i < names.size(); ++i) {
    if (names.begin()[i] == value) return i;
  }
  refuse(field, fmt::format("one of {}", fmt::join(names, ", ")), require(field));
}

void JsonPart::finish() const {
  for (const auto& [key, value] : value_.items()) {
    if (!read_.contains(key)) {
      fail(ErrorCode::unsupported, kStage,
           "Remove the field if it changes nothing, or use a tokenizer without it.",
           "expected only known fields, got {} ({})", path(key), describe(value));
    }
  }
}

void JsonPart::refuse(std::string_view field, std::string_view expected, const Json& got) const {
  refuse_value(path(field), expected, got);
}

std::string describe(const Json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "an array";
  const std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() <= 80 ? text : replace_invalid_utf8(text.substr(0, 77)) + "...";
}

uint32_t to_count(const Json& value, const std::string& path) {
  if (!value.is_number_unsigned() ||
      value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int32_t>::max())) {
    refuse_value(path, "an integer from 0 to 2147483647", value);
  }
  return value.get<uint32_t>();
}

std::string to_text(const Json& value, const std::string& path) {
  if (!value.is_string()) refuse_value(path, "a string", value);
  return value.get<std::string>();
}

void refuse_type(const std::string& path, const std::string& type,
                 std::initializer_list<std::string_view> known) {
  fail(ErrorCode::unsupported, kStage,
       "Use a tokenizer without that part; the engine does not guess what it does.",
       "expected {}.type to be one of {}, got '{}'", path, fmt::join(known, ", "), type);
}

}  // namespace ostinato::text
