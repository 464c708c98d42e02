#include "ostinato/text/added_tokens.h"

#include <algorithm>

#include "ostinato/base/error.h"
#include "ostinato/text/unicode.h"

namespace ostinato::text {

namespace {

AddedToken read_token(const Json& value, const std::string& path) {
  JsonPart part(value, path);
  AddedToken token;
  token.id = part.count("id");
  token.content = part.text("content");
  token.special = part.boolean("special");
  token.single_word = part.boolean("single_word");
  token.lstrip = part.boolean("lstrip");
  token.rstrip = part.boolean("rstrip");
  token.normalized = part.boolean("normalized");
  part.finish();
  if (token.content.empty()) part.refuse("content", "not empty", part.require("content"));
  return token;
}

std::string normalize(const std::string& content, const Normalizer* normalizer) {
  if (!normalizer) return content;
  AlignedText text(content);
  normalizer->apply(text);
  return std::string(text.text(text.pieces().front()));
}

}  // namespace

AddedTokens::AddedTokens(const Json* section, const Vocabulary& vocabulary,
                         const Normalizer* normalizer) {
  constexpr std::string_view kRemedy = "Use an undamaged tokenizer.json.";
  if (!section) return;
  if (!section->is_array()) {
    fail(ErrorCode::corrupt, kStage, kRemedy, "expected added_tokens to be an array, got {}",
         describe(*section));
  }
  tokens_.reserve(section->size());  // by_content_ points into it
  auto next_id = static_cast<int64_t>(vocabulary.size());
  for (const Json& value : *section) {
    const std::string path = fmt::format("added_tokens[{}]", tokens_.size());
    AddedToken token = read_token(value, path);
    // What the vocabulary does not have is numbered from its end on; the file must agree.
    const auto known = vocabulary.find(token.content);
    const int64_t expected = known ? *known : next_id;
    if (token.id != expected) {
      fail(ErrorCode::corrupt, kStage, kRemedy, "expected {} '{}' to have the id {}, got {}", path,
           token.content, expected, token.id);
    }
    if (!known) ++next_id;
    token.normalized_content =
        token.normalized ? normalize(token.content, normalizer) : token.content;
    if (token.normalized_content.empty()) {
      fail(ErrorCode::corrupt, kStage, "Set its field `normalized` to false.",
           "expected {} '{}' to be something after normalisation, got nothing", path,
           token.content);
    }
    const size_t index = tokens_.size();
    (token.normalized ? normalized_ : raw_).add(token.normalized_content, index);
    tokens_.push_back(std::move(token));
    const bool new_content = by_content_.emplace(tokens_.back().content, index).second;
    const bool new_id = by_id_.emplace(tokens_.back().id, index).second;
    if (!new_content || !new_id) {
      fail(ErrorCode::corrupt, kStage, kRemedy, "expected every added token once, got '{}' again",
           tokens_.back().content);
    }
  }
  raw_.finish();
  normalized_.finish();
}

const AddedToken* AddedTokens::find(std::string_view content) const {
  const auto found = by_content_.find(content);
  return found == by_content_.end() ? nullptr : &tokens_[found->second];
}

const AddedToken* AddedTokens::find(int64_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &tokens_[found->second];
}

void AddedTokens::extract(AlignedText& text, const Normalizer* normalizer) const {
  text.split([&](std::string_view piece, std::vector<Cut>& cuts) { cut(piece, raw_, cuts); });
  if (normalizer) normalizer->apply(text);
  text.split(
      [&](std::string_view piece, std::vector<Cut>& cuts) { cut(piece, normalized_, cuts); });
}

void AddedTokens::cut(std::string_view text, const Finder& finder, std::vector<Cut>& cuts) const {
  size_t done = 0;
  for (size_t at = finder.empty() ? text.size() : 0; at < text.size();) {
    const auto* found = finder.longest_at(text, at);
    if (!found) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[found->second];
    size_t begin = at, end = at + found->first.size();
    at = end;  // a token that is refused below still hides what overlaps with it
    if (token.single_word) {
      const bool before = begin > 0 && is_word(last_code_point(text.substr(0, begin)));
      const bool after = end < text.size() && is_word(code_point_at(text, end));
      if (before || after) continue;
    }
    if (token.lstrip) {
      while (begin > done && is_white_space(last_code_point(text.substr(0, begin)))) {
        do --begin;
        while (is_continuation(text[begin]));
      }
      begin = std::max(begin, done);  // the token before may have taken the space already
    }
    if (token.rstrip) {
      while (end < text.size() && is_white_space(code_point_at(text, end))) {
        end += utf8_length(text[end]);
      }
    }
    if (done < begin) cuts.push_back({done, begin});
    cuts.push_back({begin, end, token.id});
    done = end;
  }
  if (done != text.size()) cuts.push_back({done, text.size()});
}

void AddedTokens::Finder::add(const std::string& pattern, size_t token) {
  patterns_.emplace_back(pattern, token);
}

void AddedTokens::Finder::finish() {
  std::sort(patterns_.begin(), patterns_.end());
  for (uint32_t i = 0; i < patterns_.size(); ++i) {
    const std::string& pattern = patterns_[i].first;
    if (i > 0 && pattern == patterns_[i - 1].first) {
      fail(ErrorCode::corrupt, kStage, "Remove one of them.",
           "expected added tokens to differ after normalisation, got '{}' twice", pattern);
    }
    Range& range = by_first_byte_[static_cast<uint8_t>(pattern[0])];
    if (range.end == 0) range.begin = i;
    range.end = i + 1;
  }
}

const std::pair<std::string, size_t>* AddedTokens::Finder::longest_at(std::string_view text,
                                                                      size_t at) const {
  const std::pair<std::string, size_t>* best = nullptr;
  auto [begin, end] = by_first_byte_[static_cast<uint8_t>(text[at])];
  // All of [begin, end) agree with the text in their first `length` bytes. They are sorted, so the
  // one that ends there, if any, comes first.
  for (size_t length = 1; begin < end; ++length) {
    if (patterns_[begin].first.size() == length) best = &patterns_[begin++];
    if (at + length == text.size()) break;
    const auto next = static_cast<uint8_t>(text[at + length]);
    const auto byte = [&](const auto& pattern) {
      return static_cast<uint8_t>(pattern.first[length]);
    };
    const auto first = patterns_.begin() + begin, last = patterns_.begin() + end;
    const auto low =
        std::partition_point(first, last, [&](const auto& p) { return byte(p) < next; });
    const auto high =
        std::partition_point(low, last, [&](const auto& p) { return byte(p) == next; });
    begin = static_cast<uint32_t>(low - patterns_.begin());
    end = static_cast<uint32_t>(high - patterns_.begin());
  }
  return best;
}

}  // namespace ostinato::text
