#pragma once

#include "ostinato/text/aligned_text.h"
#include "ostinato/text/json_part.h"
#include "ostinato/text/regex.h"

namespace ostinato::text {

/// The field `pattern` of a part: `{"String": ...}` or `{"Regex": ...}`.
class Pattern {
 public:
  explicit Pattern(JsonPart& part);

  const Regex& regex() const { return regex_; }

 private:
  Regex regex_;
};

/// Writes a piece with every match replaced by `content`, which then belongs to the match's last
/// code point.
void write_replaced(std::string_view piece, const std::vector<Segment>& segments,
                    std::string_view content, PieceWriter& writer);

}  // namespace ostinato::text
