#include <algorithm>

#include "ostinato/base/error.h"
#include "ostinato/text/tokenizer_parts.h"

namespace ostinato::text {

Truncation::Truncation(const Json& section) {
  JsonPart part(section, "truncation");
  if (part.find("direction")) {
    direction =
        part.choice("direction", {"Right", "Left"}) == 0 ? Direction::right : Direction::left;
  }
  strategy =
      static_cast<Strategy>(part.choice("strategy", {"LongestFirst", "OnlyFirst", "OnlySecond"}));
  max_length = part.count("max_length");
  part.count("stride");  // of the overflowing parts, which are dropped
  part.finish();
}

void Truncation::cut(Encoding& encoding, size_t length) const {
  const size_t size = encoding.size();
  if (length >= size) return;
  direction == Direction::right ? encoding.keep(0, length) : encoding.keep(size - length, size);
}

void Truncation::apply(std::vector<Encoding>& encodings, size_t room) const {
  size_t total = 0;
  for (const Encoding& encoding : encodings) total += encoding.size();
  if (total <= room) return;
  if (room == 0 || (strategy == Strategy::longest_first && encodings.size() == 1)) {
    for (Encoding& encoding : encodings) cut(encoding, room);
    return;
  }
  if (strategy == Strategy::longest_first) return cut_longest_first(encodings, room);
  const size_t which = strategy == Strategy::only_first ? 0 : 1;
  const size_t excess = total - room;
  if (which >= encodings.size() || encodings[which].size() <= excess) {
    fail(ErrorCode::invalid_argument, kStage,
         "Shorten the text, or choose the truncation strategy LongestFirst.",
         "expected the {} text to have more than the {} tokens that are to be cut, got {}",
         which == 0 ? "first" : "second", excess,
         which < encodings.size() ? fmt::format("{}", encodings[which].size()) : "no such text");
  }
  cut(encodings[which], encodings[which].size() - excess);
}

void Truncation::cut_longest_first(std::vector<Encoding>& encodings, size_t room) const {
  const bool swapped = encodings[0].size() > encodings[1].size();
  size_t shorter = std::min(encodings[0].size(), encodings[1].size());
  size_t longer = shorter > room ? shorter : std::max(shorter, room - shorter);
  if (shorter + longer > room) {
    shorter = room / 2;
    longer = shorter + room % 2;
  }
  cut(encodings[0], swapped ? longer : shorter);
  cut(encodings[1], swapped ? shorter : longer);
}

Padding::Padding(const Json& section) {
  constexpr uint32_t kMaxLength = 1 << 24;
  JsonPart part(section, "padding");
  const Json& strategy = part.require("strategy");
  if (strategy.is_object()) {
    JsonPart fixed(strategy, part.path("strategy"));
    fixed_length = fixed.count("Fixed");
    if (*fixed_length > kMaxLength) {
      fixed.refuse("Fixed", fmt::format("at most {}", kMaxLength), fixed.require("Fixed"));
    }
    fixed.finish();
  } else {
    part.choice("strategy", {"BatchLongest"});
  }
  direction = part.choice("direction", {"Right", "Left"}) == 0 ? Direction::right : Direction::left;
  if (part.find("pad_to_multiple_of")) multiple_of = part.count("pad_to_multiple_of");
  if (multiple_of > kMaxLength) {
    part.refuse("pad_to_multiple_of", fmt::format("at most {}", kMaxLength),
                part.require("pad_to_multiple_of"));
  }
  id = part.count("pad_id");
  type_id = part.count("pad_type_id");
  token = part.text("pad_token");
  part.finish();
}

void Padding::apply(Encoding& encoding) const {
  size_t length = fixed_length.value_or(encoding.size());
  if (multiple_of > 0) length = (length + multiple_of - 1) / multiple_of * multiple_of;
  if (encoding.size() >= length) return;
  Encoding pad;
  for (size_t i = encoding.size(); i < length; ++i) {
    pad.append(id, token, {0, 0}, true);
    pad.type_ids.back() = type_id;
    pad.attention_mask.back() = 0;
  }
  if (direction == Direction::left) std::swap(pad, encoding);
  encoding.append(pad);
}

}  // namespace ostinato::text
