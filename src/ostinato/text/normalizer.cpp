#include "ostinato/text/normalizer.h"

#include <utility>
#include <vector>

#include "ostinato/text/byte_alphabet.h"
#include "ostinato/text/pattern.h"
#include "ostinato/text/unicode.h"

namespace ostinato::text {

void write_prefixed(std::string_view piece, std::string_view prefix, PieceWriter& writer) {
  const size_t first = utf8_length(piece[0]);
  bool begun = false;
  for_each_code_point(prefix, [&](char32_t c, size_t, size_t) {
    begun ? writer.insert(c) : writer.put(c);
    begun = true;
  });
  writer.insert(code_point_at(piece, 0));
  if (!begun) writer.drop();
  writer.copy(piece.size() - first);
}

void write_byte_characters(AlignedText& text) {
  text.rewrite([](std::string_view piece, PieceWriter& writer, const Piece&) {
    for_each_code_point(piece, [&](char32_t, size_t at, size_t length) {
      for (size_t i = 0; i < length; ++i) {
        const char32_t c = kByteAlphabet.character(static_cast<uint8_t>(piece[at + i]));
        i == 0 ? writer.put(c) : writer.insert(c);
      }
    });
  });
}

namespace {

/// Writes `map(c)` for every code point `c` that `keep` keeps.
template <typename Keep, typename Map>
void map_code_points(AlignedText& text, Keep keep, Map map) {
  text.rewrite([&](std::string_view piece, PieceWriter& writer, const Piece&) {
    for_each_code_point(
        piece, [&](char32_t c, size_t, size_t) { keep(c) ? writer.put(map(c)) : writer.drop(); });
  });
}

char32_t same(char32_t c) { return c; }

void lowercase(AlignedText& text) {
  text.rewrite([](std::string_view piece, PieceWriter& writer, const Piece&) {
    for_each_code_point(piece, [&](char32_t c, size_t, size_t) {
      char32_t lower[2];
      const size_t count = to_lower(c, lower);
      writer.put(lower[0]);
      if (count == 2) writer.insert(lower[1]);
    });
  });
}

bool is_stable(const AlignedText& text, NormalForm form) {
  for (const Piece& piece : text.pieces()) {
    const std::string_view characters = text.text(piece);
    for (size_t at = 0; at < characters.size(); at += utf8_length(characters[at])) {
      if (!is_stable(code_point_at(characters, at), form)) return false;
    }
  }
  return true;
}

void normalize(AlignedText& text, NormalForm form) {
  if (is_stable(text, form)) return;
  std::vector<char32_t> code_points;
  text.rewrite([&](std::string_view piece, PieceWriter& writer, const Piece&) {
    code_points.clear();
    for_each_code_point(piece, [&](char32_t c, size_t, size_t) { code_points.push_back(c); });
    for (const NormalizedCodePoint& next : normalize(code_points, form)) {
      next.replaces == 0 ? writer.insert(next.code_point) : writer.put(next.code_point);
      for (unsigned i = 1; i < next.replaces; ++i) writer.drop();
    }
  });
}

class UnicodeNormalizer : public Normalizer {
 public:
  explicit UnicodeNormalizer(NormalForm form) : form_(form) {}
  void apply(AlignedText& text) const override { normalize(text, form_); }

 private:
  NormalForm form_;
};

class Lowercase : public Normalizer {
 public:
  void apply(AlignedText& text) const override { lowercase(text); }
};

class StripAccents : public Normalizer {
 public:
  void apply(AlignedText& text) const override {
    map_code_points(
        text, [](char32_t c) { return !is_combining_mark(c); }, same);
  }
};

class ByteLevelNormalizer : public Normalizer {
 public:
  void apply(AlignedText& text) const override { write_byte_characters(text); }
};

class Strip : public Normalizer {
 public:
  explicit Strip(JsonPart& part)
      : left_(part.boolean("strip_left")), right_(part.boolean("strip_right")) {}

  void apply(AlignedText& text) const override {
    text.rewrite([&](std::string_view piece, PieceWriter& writer, const Piece&) {
      size_t begin = 0, end = piece.size();
      while (left_ && begin < end && is_white_space(code_point_at(piece, begin))) {
        begin += utf8_length(piece[begin]);
        writer.drop();
      }
      while (right_ && begin < end && is_white_space(last_code_point(piece.substr(0, end)))) {
        do --end;
        while (is_continuation(piece[end]));
      }
      writer.copy(end - begin);
    });
  }

 private:
  bool left_, right_;
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(JsonPart& part) : prefix_(part.text("prepend")) {}

  void apply(AlignedText& text) const override {
    text.rewrite([&](std::string_view piece, PieceWriter& writer, const Piece&) {
      if (!piece.empty()) write_prefixed(piece, prefix_, writer);
    });
  }

 private:
  std::string prefix_;
};

class Replace : public Normalizer {
 public:
  explicit Replace(JsonPart& part) : pattern_(part), content_(part.text("content")) {}

  void apply(AlignedText& text) const override {
    RegexMatcher matcher(pattern_.regex());
    std::vector<Segment> segments;
    text.rewrite([&](std::string_view piece, PieceWriter& writer, const Piece&) {
      matcher.segment(piece, segments);
      write_replaced(piece, segments, content_, writer);
    });
  }

 private:
  Pattern pattern_;
  std::string content_;
};

/// BERT's: clean the text, put spaces around ideographs, strip accents, lower the case.
class BertNormalizer : public Normalizer {
 public:
  explicit BertNormalizer(JsonPart& part)
      : clean_text_(part.boolean("clean_text")),
        handle_chinese_chars_(part.boolean("handle_chinese_chars")),
        lowercase_(part.boolean("lowercase")),
        strip_accents_(part.boolean("strip_accents", lowercase_)) {}

  void apply(AlignedText& text) const override {
    if (clean_text_) {
      map_code_points(
          text,
          [](char32_t c) {
            if (c == '\t' || c == '\n' || c == '\r') return true;
            return c != 0 && c != kReplacementCharacter && !is_control_or_format(c);
          },
          [](char32_t c) { return is_white_space(c) ? U' ' : c; });
    }
    if (handle_chinese_chars_) space_ideographs(text);
    if (strip_accents_) {
      normalize(text, NormalForm::nfd);
      map_code_points(
          text, [](char32_t c) { return !is_nonspacing_mark(c); }, same);
    }
    if (lowercase_) lowercase(text);
  }

 private:
  static void space_ideographs(AlignedText& text) {
    text.rewrite([](std::string_view piece, PieceWriter& writer, const Piece&) {
      for_each_code_point(piece, [&](char32_t c, size_t, size_t) {
        if (!is_cjk_ideograph(c)) return writer.put(c);
        writer.put(U' ');
        writer.insert(c);
        writer.insert(U' ');
      });
    });
  }

  bool clean_text_, handle_chinese_chars_, lowercase_, strip_accents_;
};

class NormalizerSequence : public Normalizer {
 public:
  explicit NormalizerSequence(JsonPart& part) {
    const Json& list = part.array("normalizers");
    for (size_t i = 0; i < list.size(); ++i) {
      steps_.push_back(
          read_normalizer(list[i], fmt::format("{}[{}]", part.path("normalizers"), i)));
    }
  }

  void apply(AlignedText& text) const override {
    for (const auto& step : steps_) step->apply(text);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> steps_;
};

std::unique_ptr<Normalizer> make(const std::string& type, JsonPart& part) {
  if (type == "NFC") return std::make_unique<UnicodeNormalizer>(NormalForm::nfc);
  if (type == "NFD") return std::make_unique<UnicodeNormalizer>(NormalForm::nfd);
  if (type == "NFKC") return std::make_unique<UnicodeNormalizer>(NormalForm::nfkc);
  if (type == "NFKD") return std::make_unique<UnicodeNormalizer>(NormalForm::nfkd);
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "StripAccents") return std::make_unique<StripAccents>();
  if (type == "ByteLevel") return std::make_unique<ByteLevelNormalizer>();
  if (type == "Strip") return std::make_unique<Strip>(part);
  if (type == "Prepend") return std::make_unique<Prepend>(part);
  if (type == "Replace") return std::make_unique<Replace>(part);
  if (type == "BertNormalizer") return std::make_unique<BertNormalizer>(part);
  if (type == "Sequence") return std::make_unique<NormalizerSequence>(part);
  refuse_type(part.path(), type,
              {"BertNormalizer", "ByteLevel", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Prepend",
               "Replace", "Sequence", "Strip", "StripAccents"});
}

}  // namespace

std::unique_ptr<Normalizer> read_normalizer(const Json& value, const std::string& path) {
  JsonPart part(value, path);
  auto normalizer = make(part.text("type"), part);
  part.finish();
  return normalizer;
}

}  // namespace ostinato::text
