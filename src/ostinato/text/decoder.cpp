#include "ostinato/text/decoder.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "ostinato/text/byte_alphabet.h"
#include "ostinato/text/metaspace.h"
#include "ostinato/text/pattern.h"
#include "ostinato/text/utf8.h"

namespace ostinato::text {

void append_byte_level(std::string_view token, std::string& bytes) {
  const size_t before = bytes.size();
  for (size_t at = 0; at < token.size(); at += utf8_length(token[at])) {
    const int byte = kByteAlphabet.byte(code_point_at(token, at));
    if (byte < 0) {
      bytes.resize(before);
      bytes += token;
      return;
    }
    bytes += static_cast<char>(byte);
  }
}

namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  std::string out;
  size_t at = 0;
  for (size_t found; (found = text.find(from, at)) != std::string::npos; at = found + from.size()) {
    out.append(text, at, found - at).append(to);
  }
  if (at > 0) text = out.append(text, at);
}

class ByteLevel : public Decoder {
 public:
  explicit ByteLevel(JsonPart& part) {  // the fields concern the pre-tokenizer of that name
    part.boolean("add_prefix_space", true);
    part.boolean("trim_offsets", true);
    part.boolean("use_regex", true);
  }

  void apply(std::vector<std::string>& tokens) const override {
    std::string bytes;
    for (const std::string& token : tokens) append_byte_level(token, bytes);
    tokens = {replace_invalid_utf8(bytes)};
  }

  bool is_byte_level() const override { return true; }
};

class WordPiece : public Decoder {
 public:
  explicit WordPiece(JsonPart& part)
      : prefix_(part.text("prefix")), cleanup_(part.boolean("cleanup")) {}

  void apply(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      std::string& token = tokens[i];
      if (i > 0) {
        if (token.compare(0, prefix_.size(), prefix_) == 0) {
          token.erase(0, prefix_.size());
        } else {
          token.insert(token.begin(), ' ');
        }
      }
      if (cleanup_) clean_up(token);
    }
  }

 private:
  /// Undoes the spaces that BERT puts before punctuation and into contractions, in this order.
  static void clean_up(std::string& token) {
    static constexpr std::pair<std::string_view, std::string_view> kReplacements[] = {
        {" .", "."},   {" ?", "?"},     {" !", "!"},     {" ,", ","},
        {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},   {" do not", " don't"},
        {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
    };
    for (const auto& [from, to] : kReplacements) replace_all(token, from, to);
  }

  std::string prefix_;
  bool cleanup_;
};

class BpeDecoder : public Decoder {
 public:
  explicit BpeDecoder(JsonPart& part) : suffix_(part.text("suffix")) {
    if (suffix_.empty()) part.refuse("suffix", "not empty", part.require("suffix"));
  }

  void apply(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      replace_all(tokens[i], suffix_, i + 1 == tokens.size() ? "" : " ");
    }
  }

 private:
  std::string suffix_;
};

/// Joins runs of tokens like <0xE4> to the text of these bytes; a run that is no UTF-8 becomes one
/// U+FFFD a byte.
class ByteFallback : public Decoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::vector<std::string> out;
    std::string run;
    const auto flush = [&] {
      if (run.empty()) return;
      if (is_valid_utf8(run)) {
        out.push_back(run);
      } else {
        out.insert(out.end(), run.size(), "\xEF\xBF\xBD");
      }
      run.clear();
    };
    for (std::string& token : tokens) {
      if (const auto byte = byte_of(token)) {
        run += static_cast<char>(*byte);
      } else {
        flush();
        out.push_back(std::move(token));
      }
    }
    flush();
    tokens = std::move(out);
  }

  /// A run of bytes that is UTF-8 so far may become one that is not.
  bool looks_ahead(std::string_view token) const override { return byte_of(token).has_value(); }

 private:
  static std::optional<uint8_t> byte_of(std::string_view token) {
    if (token.size() != 6 || token.substr(0, 3) != "<0x" || token[5] != '>') return std::nullopt;
    uint8_t byte = 0;
    const auto [end, error] = std::from_chars(token.data() + 3, token.data() + 5, byte, 16);
    if (error != std::errc() || end != token.data() + 5) return std::nullopt;
    return byte;
  }
};

class Fuse : public Decoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::string joined;
    for (const std::string& token : tokens) joined += token;
    tokens = {std::move(joined)};
  }
};

class Metaspace : public Decoder {
 public:
  explicit Metaspace(JsonPart& part) : options_(part) {}

  void apply(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      const bool drop = i == 0 && options_.scheme != PrependScheme::never;
      std::string out;
      for_each_code_point(tokens[i], [&](char32_t c, size_t at, size_t length) {
        if (c != options_.replacement) {
          out.append(tokens[i], at, length);
        } else if (!drop) {
          out += ' ';
        }
      });
      tokens[i] = std::move(out);
    }
  }

 private:
  MetaspaceOptions options_;
};

/// Takes up to `start` and `stop` of one character from the ends of every token.
class Strip : public Decoder {
 public:
  explicit Strip(JsonPart& part) : start_(part.count("start")), stop_(part.count("stop")) {
    append_utf8(content_, part.character("content"));
  }

  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) {
      size_t begin = 0, end = token.size();
      for (size_t i = 0; i < start_ && token.compare(begin, content_.size(), content_) == 0; ++i) {
        begin += content_.size();
      }
      for (size_t i = 0; i < stop_ && end >= begin + content_.size() &&
                         token.compare(end - content_.size(), content_.size(), content_) == 0;
           ++i) {
        end -= content_.size();
      }
      token = token.substr(begin, end - begin);
    }
  }

 private:
  std::string content_;
  size_t start_, stop_;
};

class Replace : public Decoder {
 public:
  explicit Replace(JsonPart& part) : pattern_(part), content_(part.text("content")) {}

  void apply(std::vector<std::string>& tokens) const override {
    RegexMatcher matcher(pattern_.regex());
    std::vector<Segment> segments;
    for (std::string& token : tokens) {
      matcher.segment(token, segments);
      std::string out;
      for (const Segment& segment : segments) {
        if (segment.is_match) {
          out += content_;
        } else {
          out.append(token, segment.begin, segment.end - segment.begin);
        }
      }
      token = std::move(out);
    }
  }

 private:
  Pattern pattern_;
  std::string content_;
};

class DecoderSequence : public Decoder {
 public:
  explicit DecoderSequence(JsonPart& part) {
    const Json& list = part.array("decoders");
    for (size_t i = 0; i < list.size(); ++i) {
      steps_.push_back(read_decoder(list[i], fmt::format("{}[{}]", part.path("decoders"), i)));
    }
  }

  void apply(std::vector<std::string>& tokens) const override {
    for (const auto& step : steps_) step->apply(tokens);
  }

  bool looks_ahead(std::string_view token) const override {
    return std::any_of(steps_.begin(), steps_.end(),
                       [&](const auto& step) { return step->looks_ahead(token); });
  }

 private:
  std::vector<std::unique_ptr<Decoder>> steps_;
};

std::unique_ptr<Decoder> make(const std::string& type, JsonPart& part) {
  if (type == "BPEDecoder") return std::make_unique<BpeDecoder>(part);
  if (type == "ByteFallback") return std::make_unique<ByteFallback>();
  if (type == "ByteLevel") return std::make_unique<ByteLevel>(part);
  if (type == "Fuse") return std::make_unique<Fuse>();
  if (type == "Metaspace") return std::make_unique<Metaspace>(part);
  if (type == "Replace") return std::make_unique<Replace>(part);
  if (type == "Sequence") return std::make_unique<DecoderSequence>(part);
  if (type == "Strip") return std::make_unique<Strip>(part);
  if (type == "WordPiece") return std::make_unique<WordPiece>(part);
  refuse_type(part.path(), type,
              {"BPEDecoder", "ByteFallback", "ByteLevel", "Fuse", "Metaspace", "Replace",
               "Sequence", "Strip", "WordPiece"});
}

}  // namespace

std::unique_ptr<Decoder> read_decoder(const Json& value, const std::string& path) {
  JsonPart part(value, path);
  auto decoder = make(part.text("type"), part);
  part.finish();
  return decoder;
}

}  // namespace ostinato::text
