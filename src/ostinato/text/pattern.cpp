#include "ostinato/text/pattern.h"

namespace ostinato::text {

namespace {

std::string expression_of(JsonPart& part) {
  const Json& value = part.require("pattern");
  JsonPart pattern(value, part.path("pattern"));
  if (const auto literal = pattern.optional_text("String")) {
    pattern.finish();
    return Regex::escape(*literal);
  }
  std::string expression = pattern.text("Regex");
  pattern.finish();
  return expression;
}

}  // namespace

Pattern::Pattern(JsonPart& part)
    : regex_(expression_of(part), fmt::format("{}/{}", kStage, part.path("pattern"))) {}

void write_replaced(std::string_view piece, const std::vector<Segment>& segments,
                    std::string_view content, PieceWriter& writer) {
  for (const Segment& segment : segments) {
    if (!segment.is_match) {
      writer.copy(segment.end - segment.begin);
      continue;
    }
    for (size_t at = segment.begin; at < segment.end; at += utf8_length(piece[at])) writer.drop();
    for_each_code_point(content, [&](char32_t c, size_t, size_t) { writer.insert(c); });
  }
}

}  // namespace ostinato::text
