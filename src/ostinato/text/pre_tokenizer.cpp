#include "ostinato/text/pre_tokenizer.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "ostinato/text/metaspace.h"
#include "ostinato/text/normalizer.h"
#include "ostinato/text/pattern.h"
#include "ostinato/text/unicode.h"

namespace ostinato::text {

namespace {

/// What becomes of the matches when a text is split at them.
enum class Behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

Behavior read_behavior(JsonPart& part) {
  return static_cast<Behavior>(part.choice(
      "behavior", {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"}));
}

void cut_isolated(const std::vector<Segment>& segments, std::vector<Cut>& cuts) {
  for (const Segment& segment : segments) cuts.push_back({segment.begin, segment.end});
}

void cut_removed(const std::vector<Segment>& segments, std::vector<Cut>& cuts) {
  for (const Segment& segment : segments) {
    if (!segment.is_match) cuts.push_back({segment.begin, segment.end});
  }
}

void cut_contiguous(const std::vector<Segment>& segments, std::vector<Cut>& cuts) {
  bool previous = false;
  for (const Segment& segment : segments) {
    if (segment.is_match == previous && !cuts.empty()) {
      cuts.back().end = segment.end;
    } else {
      cuts.push_back({segment.begin, segment.end});
    }
    previous = segment.is_match;
  }
}

void cut_merged_with_previous(const std::vector<Segment>& segments, std::vector<Cut>& cuts) {
  bool previous = false;
  for (const Segment& segment : segments) {
    if (segment.is_match && !previous && !cuts.empty()) {
      cuts.back().end = segment.end;
    } else {
      cuts.push_back({segment.begin, segment.end});
    }
    previous = segment.is_match;
  }
}

void cut_merged_with_next(const std::vector<Segment>& segments, std::vector<Cut>& cuts) {
  bool following = false;
  for (auto segment = segments.rbegin(); segment != segments.rend(); ++segment) {
    if (segment->is_match && !following && !cuts.empty()) {
      cuts.back().begin = segment->begin;
    } else {
      cuts.push_back({segment->begin, segment->end});
    }
    following = segment->is_match;
  }
  std::reverse(cuts.begin(), cuts.end());
}

void cut(const std::vector<Segment>& segments, Behavior behavior, std::vector<Cut>& cuts) {
  switch (behavior) {
    case Behavior::removed: return cut_removed(segments, cuts);
    case Behavior::isolated: return cut_isolated(segments, cuts);
    case Behavior::merged_with_previous: return cut_merged_with_previous(segments, cuts);
    case Behavior::merged_with_next: return cut_merged_with_next(segments, cuts);
    case Behavior::contiguous: return cut_contiguous(segments, cuts);
  }
}

void split(AlignedText& text, const Regex& regex, Behavior behavior, bool invert = false) {
  RegexMatcher matcher(regex);
  std::vector<Segment> segments;
  text.split([&](std::string_view piece, std::vector<Cut>& cuts) {
    matcher.segment(piece, segments);
    if (invert) {
      for (Segment& segment : segments) segment.is_match = !segment.is_match;
    }
    cut(segments, behavior, cuts);
  });
}

/// Splits at single code points.
template <typename IsMatch>
void split_at(AlignedText& text, IsMatch is_match, Behavior behavior) {
  std::vector<Segment> segments;
  text.split([&](std::string_view piece, std::vector<Cut>& cuts) {
    segments.clear();
    size_t end = 0;  // of the segments so far
    for_each_code_point(piece, [&](char32_t c, size_t at, size_t length) {
      if (!is_match(c)) return;
      if (end < at) segments.push_back({end, at, false});
      end = at + length;
      segments.push_back({at, end, true});
    });
    if (end < piece.size()) segments.push_back({end, piece.size(), false});
    cut(segments, behavior, cuts);
  });
}

class BertPreTokenizer : public PreTokenizer {
 public:
  void apply(AlignedText& text) const override {
    split_at(text, is_white_space, Behavior::removed);
    split_at(text, is_punctuation, Behavior::isolated);
  }
};

class WhitespaceSplit : public PreTokenizer {
 public:
  void apply(AlignedText& text) const override {
    split_at(text, is_white_space, Behavior::removed);
  }
};

/// Words and runs of what is neither word nor space: `\w+|[^\w\s]+`.
class Whitespace : public PreTokenizer {
 public:
  void apply(AlignedText& text) const override {
    text.split([](std::string_view piece, std::vector<Cut>& cuts) {
      enum class Kind { space, word, other };
      Kind previous = Kind::space;
      for_each_code_point(piece, [&](char32_t c, size_t at, size_t length) {
        const Kind kind = is_word(c) ? Kind::word : is_white_space(c) ? Kind::space : Kind::other;
        if (kind != Kind::space) {
          if (kind == previous) {
            cuts.back().end = at + length;
          } else {
            cuts.push_back({at, at + length});
          }
        }
        previous = kind;
      });
    });
  }
};

class Digits : public PreTokenizer {
 public:
  explicit Digits(JsonPart& part)
      : behavior_(part.boolean("individual_digits") ? Behavior::isolated : Behavior::contiguous) {}

  void apply(AlignedText& text) const override { split_at(text, is_numeric, behavior_); }

 private:
  Behavior behavior_;
};

class Punctuation : public PreTokenizer {
 public:
  explicit Punctuation(JsonPart& part)
      : behavior_(part.find("behavior") ? read_behavior(part) : Behavior::isolated) {}

  void apply(AlignedText& text) const override { split_at(text, is_punctuation, behavior_); }

 private:
  Behavior behavior_;
};

class Split : public PreTokenizer {
 public:
  explicit Split(JsonPart& part)
      : pattern_(part), behavior_(read_behavior(part)), invert_(part.boolean("invert")) {}

  void apply(AlignedText& text) const override {
    split(text, pattern_.regex(), behavior_, invert_);
  }

 private:
  Pattern pattern_;
  Behavior behavior_;
  bool invert_;
};

/// Prepends `prefix` to every piece that `lacks_prefix(piece_text, piece)` names.
template <typename LacksPrefix>
void prepend(AlignedText& text, const std::string& prefix, LacksPrefix lacks_prefix) {
  text.rewrite([&](std::string_view piece, PieceWriter& writer, const Piece& where) {
    if (!piece.empty() && lacks_prefix(piece, where)) {
      write_prefixed(piece, prefix, writer);
    } else {
      writer.copy(piece.size());
    }
  });
}

class ByteLevel : public PreTokenizer {
 public:
  explicit ByteLevel(JsonPart& part) : add_prefix_space_(part.boolean("add_prefix_space")) {
    part.boolean("trim_offsets");  // concerns the post-processor of the same name
    if (part.boolean("use_regex", true)) {
      // GPT-2's words: contractions, letters, digits, the rest, and spaces.
      words_ = std::make_unique<Regex>(
          "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
          part.path());
    }
  }

  void apply(AlignedText& text) const override {
    if (add_prefix_space_) {
      prepend(text, " ", [](std::string_view piece, const Piece&) { return piece[0] != ' '; });
    }
    if (words_) split(text, *words_, Behavior::isolated);
    write_byte_characters(text);
  }

 private:
  bool add_prefix_space_;
  std::unique_ptr<Regex> words_;
};

class Metaspace : public PreTokenizer {
 public:
  explicit Metaspace(JsonPart& part) : options_(part) {
    append_utf8(replacement_, options_.replacement);
  }

  void apply(AlignedText& text) const override {
    text.rewrite([&](std::string_view piece, PieceWriter& writer, const Piece&) {
      for_each_code_point(piece, [&](char32_t c, size_t, size_t length) {
        if (c != ' ') return writer.copy(length);
        writer.drop();
        writer.insert(options_.replacement);
      });
    });
    if (options_.scheme != PrependScheme::never) {
      prepend(text, replacement_, [&](std::string_view piece, const Piece& where) {
        const bool wanted = options_.scheme == PrependScheme::always || where.origin == 0;
        return wanted && code_point_at(piece, 0) != options_.replacement;
      });
    }
    if (options_.split) {
      split_at(
          text, [&](char32_t c) { return c == options_.replacement; }, Behavior::merged_with_next);
    }
  }

 private:
  MetaspaceOptions options_;
  std::string replacement_;
};

class PreTokenizerSequence : public PreTokenizer {
 public:
  explicit PreTokenizerSequence(JsonPart& part) {
    const Json& list = part.array("pretokenizers");
    for (size_t i = 0; i < list.size(); ++i) {
      steps_.push_back(
          read_pre_tokenizer(list[i], fmt::format("{}[{}]", part.path("pretokenizers"), i)));
    }
  }

  void apply(AlignedText& text) const override {
    for (const auto& step : steps_) step->apply(text);
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> steps_;
};

std::unique_ptr<PreTokenizer> make(const std::string& type, JsonPart& part) {
  if (type == "BertPreTokenizer") return std::make_unique<BertPreTokenizer>();
  if (type == "ByteLevel") return std::make_unique<ByteLevel>(part);
  if (type == "Digits") return std::make_unique<Digits>(part);
  if (type == "Metaspace") return std::make_unique<Metaspace>(part);
  if (type == "Punctuation") return std::make_unique<Punctuation>(part);
  if (type == "Sequence") return std::make_unique<PreTokenizerSequence>(part);
  if (type == "Split") return std::make_unique<Split>(part);
  if (type == "Whitespace") return std::make_unique<Whitespace>();
  if (type == "WhitespaceSplit") return std::make_unique<WhitespaceSplit>();
  refuse_type(part.path(), type,
              {"BertPreTokenizer", "ByteLevel", "Digits", "Metaspace", "Punctuation", "Sequence",
               "Split", "Whitespace", "WhitespaceSplit"});
}

}  // namespace

std::unique_ptr<PreTokenizer> read_pre_tokenizer(const Json& value, const std::string& path) {
  JsonPart part(value, path);
  auto pre_tokenizer = make(part.text("type"), part);
  part.finish();
  return pre_tokenizer;
}

}  // namespace ostinato::text
