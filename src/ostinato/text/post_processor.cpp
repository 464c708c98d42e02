#include "ostinato/text/post_processor.h"

#include <algorithm>
#include <map>

#include "ostinato/base/error.h"
#include "ostinato/text/byte_alphabet.h"
#include "ostinato/text/unicode.h"
#include "ostinato/text/utf8.h"

namespace ostinato::text {

namespace {

bool is_byte_level_space(char32_t c) {
  return c == kByteAlphabet.character(' ') || is_white_space(c);
}

/// Takes the spaces at the ends of byte-level pieces out of their offsets.
void trim_offsets(Encoding& encoding, bool add_prefix_space) {
  for (size_t i = 0; i < encoding.size(); ++i) {
    size_t leading = 0, trailing = 0;
    bool begun = false;
    for_each_code_point(encoding.pieces[i], [&](char32_t c, size_t, size_t) {
      const bool space = is_byte_level_space(c);
      begun = begun || !space;
      if (!begun) ++leading;
      trailing = space ? trailing + 1 : 0;
    });
    auto& [begin, end] = encoding.offsets[i];
    if (leading > 0) {
      // A single space at the very beginning is the one that the pre-tokenizer put there.
      const bool ours = (i == 0 || begin == 0) && add_prefix_space && leading == 1;
      begin = std::min(begin + (ours ? 0 : leading), end);
    }
    if (trailing > 0 && end >= trailing) end = std::max(end - trailing, begin);
  }
}

class ByteLevel : public PostProcessor {
 public:
  explicit ByteLevel(JsonPart& part)
      : add_prefix_space_(part.boolean("add_prefix_space")),
        trim_offsets_(part.boolean("trim_offsets")) {
    part.boolean("use_regex", true);  // concerns the pre-tokenizer of the same name
  }

  size_t added_tokens(bool) const override { return 0; }

  void apply(std::vector<Encoding>& encodings, bool) const override {
    if (!trim_offsets_) return;
    for (Encoding& encoding : encodings) trim_offsets(encoding, add_prefix_space_);
  }

 private:
  bool add_prefix_space_, trim_offsets_;
};

/// A special token as `["[SEP]", 102]`.
struct NamedToken {
  NamedToken(JsonPart& part, std::string_view field) {
    const Json& value = part.array(field);
    if (value.size() != 2) part.refuse(field, "a token and its id", value);
    text = to_text(value[0], part.path(field) + "[0]");
    id = to_count(value[1], part.path(field) + "[1]");
  }

  std::string text;
  uint32_t id;
};

/// Puts `before` and `after` around an encoding.
void surround(Encoding& encoding, const NamedToken& before, const NamedToken& after,
              int64_t type_id) {
  Encoding out;
  out.append(before.id, before.text, {0, 0}, true);
  std::fill(encoding.special_tokens_mask.begin(), encoding.special_tokens_mask.end(), 0);
  out.append(encoding);
  out.append(after.id, after.text, {0, 0}, true);
  std::fill(out.type_ids.begin(), out.type_ids.end(), type_id);
  encoding = std::move(out);
}

/// [CLS] A [SEP] B [SEP], where B has type 1.
class BertProcessing : public PostProcessor {
 public:
  explicit BertProcessing(JsonPart& part) : separator_(part, "sep"), start_(part, "cls") {}

  size_t added_tokens(bool pair) const override { return pair ? 3 : 2; }

  void apply(std::vector<Encoding>& encodings, bool add_special_tokens) const override {
    if (!add_special_tokens) return;
    for (size_t i = 0; i < encodings.size(); ++i) {
      if (i == 0) {
        surround(encodings[i], start_, separator_, 0);
        continue;
      }
      surround(encodings[i], separator_, separator_, 1);
      encodings[i].keep(1, encodings[i].size());
    }
  }

 private:
  NamedToken separator_, start_;
};

/// <s> A </s> </s> B </s>, all of type 0.
class RobertaProcessing : public PostProcessor {
 public:
  explicit RobertaProcessing(JsonPart& part)
      : separator_(part, "sep"),
        start_(part, "cls"),
        trim_offsets_(part.boolean("trim_offsets")),
        add_prefix_space_(part.boolean("add_prefix_space")) {}

  size_t added_tokens(bool pair) const override { return pair ? 4 : 2; }

  void apply(std::vector<Encoding>& encodings, bool add_special_tokens) const override {
    for (size_t i = 0; i < encodings.size(); ++i) {
      Encoding& encoding = encodings[i];
      if (trim_offsets_) trim_offsets(encoding, add_prefix_space_);
      std::fill(encoding.type_ids.begin(), encoding.type_ids.end(), 0);
      if (add_special_tokens) surround(encoding, i == 0 ? start_ : separator_, separator_, 0);
    }
  }

 private:
  NamedToken separator_, start_;
  bool trim_offsets_, add_prefix_space_;
};

class TemplateProcessing : public PostProcessor {
 public:
  explicit TemplateProcessing(JsonPart& part) {
    read_special_tokens(part);
    single_ = read_template(part, "single", false);
    pair_ = read_template(part, "pair", true);
  }

  size_t added_tokens(bool pair) const override {
    size_t count = 0;
    for (const Element& element : pair ? pair_ : single_) {
      if (element.special) count += element.special->size();
    }
    return count;
  }

  void apply(std::vector<Encoding>& encodings, bool add_special_tokens) const override {
    if (encodings.size() > 2) {
      fail(ErrorCode::unsupported, kStage,
           "Put TemplateProcessing before the post-processors that keep the number of texts.",
           "expected TemplateProcessing to get one text or two, got {} parts", encodings.size());
    }
    std::vector<Encoding> out;
    for (const Element& element : encodings.size() == 2 ? pair_ : single_) {
      if (element.special && !add_special_tokens) continue;
      Encoding encoding = element.special ? *element.special : encodings[element.sequence];
      std::fill(encoding.type_ids.begin(), encoding.type_ids.end(), element.type_id);
      out.push_back(std::move(encoding));
    }
    encodings = std::move(out);
  }

 private:
  /// A special token, which may be several, or one of the texts.
  struct Element {
    const Encoding* special = nullptr;  // of special_tokens_
    size_t sequence = 0;
    int64_t type_id = 0;
  };

  void read_special_tokens(JsonPart& part) {
    const std::string path = part.path("special_tokens");
    const Json& tokens = part.require("special_tokens");
    if (!tokens.is_object()) part.refuse("special_tokens", "an object", tokens);
    for (const auto& [name, value] : tokens.items()) {
      JsonPart token(value, fmt::format("{}.{}", path, name));
      token.text("id");
      const Json& ids = token.array("ids");
      const Json& texts = token.array("tokens");
      if (ids.size() != texts.size()) token.refuse("tokens", "as many as the ids", texts);
      Encoding& encoding = special_tokens_[name];
      for (size_t i = 0; i < ids.size(); ++i) {
        encoding.append(to_count(ids[i], token.path("ids")),
                        to_text(texts[i], token.path("tokens")), {0, 0}, true);
      }
      token.finish();
    }
  }

  std::vector<Element> read_template(JsonPart& part, std::string_view field, bool pair) const {
    const Json& list = part.array(field);
    std::vector<Element> elements;
    for (size_t i = 0; i < list.size(); ++i) {
      JsonPart item(list[i], fmt::format("{}[{}]", part.path(field), i));
      Element element;
      if (const Json* value = item.find("Sequence")) {
        JsonPart sequence(*value, item.path("Sequence"));
        element.sequence = sequence.choice("id", {"A", "B"});
        if (element.sequence == 1 && !pair) {
          sequence.refuse("id", "\"A\" in the template of a single text", sequence.require("id"));
        }
        element.type_id = sequence.count("type_id");
        sequence.finish();
      } else {
        JsonPart special(item.require("SpecialToken"), item.path("SpecialToken"));
        const auto found = special_tokens_.find(special.text("id"));
        if (found == special_tokens_.end()) {
          special.refuse("id", "a key of special_tokens", special.require("id"));
        }
        element.special = &found->second;
        element.type_id = special.count("type_id");
        special.finish();
      }
      item.finish();
      elements.push_back(element);
    }
    return elements;
  }

  std::map<std::string, Encoding, std::less<>> special_tokens_;
  std::vector<Element> single_, pair_;
};

class PostProcessorSequence : public PostProcessor {
 public:
  explicit PostProcessorSequence(JsonPart& part) {
    const Json& list = part.array("processors");
    for (size_t i = 0; i < list.size(); ++i) {
      steps_.push_back(
          read_post_processor(list[i], fmt::format("{}[{}]", part.path("processors"), i)));
    }
  }

  size_t added_tokens(bool pair) const override {
    size_t count = 0;
    for (const auto& step : steps_) count += step->added_tokens(pair);
    return count;
  }

  void apply(std::vector<Encoding>& encodings, bool add_special_tokens) const override {
    for (const auto& step : steps_) step->apply(encodings, add_special_tokens);
  }

 private:
  std::vector<std::unique_ptr<PostProcessor>> steps_;
};

std::unique_ptr<PostProcessor> make(const std::string& type, JsonPart& part) {
  if (type == "BertProcessing") return std::make_unique<BertProcessing>(part);
  if (type == "ByteLevel") return std::make_unique<ByteLevel>(part);
  if (type == "RobertaProcessing") return std::make_unique<RobertaProcessing>(part);
  if (type == "Sequence") return std::make_unique<PostProcessorSequence>(part);
  if (type == "TemplateProcessing") return std::make_unique<TemplateProcessing>(part);
  refuse_type(
      part.path(), type,
      {"BertProcessing", "ByteLevel", "RobertaProcessing", "Sequence", "TemplateProcessing"});
}

}  // namespace

std::unique_ptr<PostProcessor> read_post_processor(const Json& value, const std::string& path) {
  JsonPart part(value, path);
  auto post_processor = make(part.text("type"), part);
  part.finish();
  return post_processor;
}

}  // namespace ostinato::text
