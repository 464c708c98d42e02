#include "ostinato/text/tokenizer_parts.h"

#include <algorithm>

#include "ostinato/base/error.h"
#include "ostinato/text/tokenizer_file.h"
#include "ostinato/text/utf8.h"

namespace ostinato::text {

namespace {

std::unique_ptr<Model> make_model(const Json& section, TokenizerFile& file) {
  JsonPart part(section, "model");
  // Files from before the field existed tell the model by its other fields.
  const std::string type =
      part.optional_text("type").value_or(part.find("max_input_chars_per_word") ? "WordPiece"
                                          : file.has_merges                     ? "BPE"
                                                                                : "");
  if (type != "BPE" && type != "WordPiece") refuse_type("model", type, {"BPE", "WordPiece"});
  if (!file.has_vocabulary) part.refuse("vocab", "an object", part.require("vocab"));
  part.find("vocab");
  std::unique_ptr<Model> model;
  if (type == "BPE") {
    if (!file.has_merges) part.refuse("merges", "an array", part.require("merges"));
    part.find("merges");
    model = make_bpe(part, std::move(file.vocabulary), file.merges);
  } else {
    model = make_word_piece(part, std::move(file.vocabulary));
  }
  part.finish();
  return model;
}

/// Positions in bytes as positions in code points.
class CodePointPositions {
 public:
  explicit CodePointPositions(std::string_view text) : size_(text.size()) {
    if (std::none_of(text.begin(), text.end(), is_continuation)) return;  // then they are the same
    of_byte_.reserve(size_);
    uint32_t position = 0;
    for (size_t at = 0; at < size_; ++at) {
      if (at > 0 && !is_continuation(text[at])) ++position;
      of_byte_.push_back(position);
    }
  }

  /// A range that begins at the end of the text, or beyond, stays as it is: so does `tokenizers`.
  std::pair<size_t, size_t> convert(ByteRange range) const {
    if (range.begin >= size_) return {range.begin, range.end};
    const size_t begin = at(range.begin);
    if (range.end < size_) return {begin, at(range.end)};
    return {begin, range.end == size_ ? at(size_ - 1) + 1 : begin + 2};
  }

 private:
  size_t at(size_t byte) const { return of_byte_.empty() ? byte : of_byte_[byte]; }

  size_t size_;
  std::vector<uint32_t> of_byte_;
};

/// The bytes of the original that a token of a piece stems from.
ByteRange origin_of(const AlignedText& text, const Piece& piece, const Token& token) {
  if (token.begin == token.end) return {piece.origin + token.begin, piece.origin + token.end};
  // Byte fallback of a prefixed character has more tokens than the piece has bytes.
  if (token.end > piece.end - piece.begin) return {token.begin, token.end};
  return {text.alignment(piece.begin + token.begin).begin,
          text.alignment(piece.begin + token.end - 1).end};
}

}  // namespace

Tokenizer::Parts::Parts(std::string_view json) {
  TokenizerFile file = parse_tokenizer_file(json);
  JsonPart part(file.document, "");
  if (const auto version = part.optional_text("version"); version && *version != "1.0") {
    part.refuse("version", "\"1.0\"", part.require("version"));
  }
  model = make_model(part.require("model"), file);
  if (const Json* value = part.find("normalizer")) {
    normalizer = read_normalizer(*value, "normalizer");
  }
  if (const Json* value = part.find("pre_tokenizer")) {
    pre_tokenizer = read_pre_tokenizer(*value, "pre_tokenizer");
  }
  if (const Json* value = part.find("post_processor")) {
    post_processor = read_post_processor(*value, "post_processor");
  }
  if (const Json* value = part.find("decoder")) decoder = read_decoder(*value, "decoder");
  if (const Json* value = part.find("truncation")) truncation.emplace(*value);
  if (const Json* value = part.find("padding")) padding.emplace(*value);
  added = std::make_unique<AddedTokens>(part.find("added_tokens"), model->vocabulary(),
                                        normalizer.get());
  part.finish();
}

Encoding Tokenizer::Parts::tokenize(std::string_view raw, int64_t sequence) const {
  const std::string valid = is_valid_utf8(raw) ? std::string() : replace_invalid_utf8(raw);
  AlignedText text(valid.empty() ? raw : std::string_view(valid));
  added->extract(text, normalizer.get());
  if (pre_tokenizer) pre_tokenizer->apply(text);

  Encoding encoding;
  const CodePointPositions positions(text.original());
  ModelWorkspace workspace;
  std::vector<Token> tokens;
  for (const Piece& piece : text.pieces()) {
    tokens.clear();
    if (piece.token >= 0) {
      tokens.push_back({static_cast<uint32_t>(piece.token), 0, piece.end - piece.begin});
    } else {
      model->tokenize(text.text(piece), workspace, tokens);
    }
    for (const Token& token : tokens) {
      const std::string_view content =
          piece.token >= 0 ? text.text(piece) : *model->vocabulary().token(token.id);
      encoding.append(token.id, std::string(content),
                      positions.convert(origin_of(text, piece, token)), false);
    }
  }
  std::fill(encoding.type_ids.begin(), encoding.type_ids.end(), sequence);
  return encoding;
}

Encoding Tokenizer::Parts::finish(std::vector<Encoding> encodings,
                                  const EncodeOptions& options) const {
  if (options.truncate && truncation) {
    const size_t added_tokens = options.add_special_tokens && post_processor
                                    ? post_processor->added_tokens(encodings.size() == 2)
                                    : 0;
    if (added_tokens > truncation->max_length) {
      fail(ErrorCode::corrupt, kStage, "Raise truncation.max_length.",
           "expected truncation.max_length to hold the {} special tokens, got {}", added_tokens,
           truncation->max_length);
    }
    truncation->apply(encodings, truncation->max_length - added_tokens);
  }
  if (post_processor) post_processor->apply(encodings, options.add_special_tokens);
  Encoding result;
  for (size_t i = 0; i < encodings.size(); ++i) {
    i == 0 ? static_cast<void>(result = std::move(encodings[0])) : result.append(encodings[i]);
  }
  if (options.pad && padding) padding->apply(result);
  return result;
}

std::string Tokenizer::Parts::decode(std::vector<std::string> tokens) const {
  if (decoder) decoder->apply(tokens);
  std::string text;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0 && !decoder) text += ' ';
    text += tokens[i];
  }
  return text;
}

std::optional<std::string_view> Tokenizer::Parts::token(int64_t id) const {
  if (const AddedToken* token = added->find(id)) return token->normalized_content;
  return id < 0 ? std::nullopt : model->vocabulary().token(static_cast<uint64_t>(id));
}

std::optional<std::string_view> Tokenizer::Parts::decodable(int64_t id, UnknownIds unknown) const {
  const auto found = token(id);
  if (!found && unknown == UnknownIds::refuse) {
    fail(ErrorCode::invalid_argument, kStage,
         "Decode with the tokenizer that belongs to the model.",
         "expected an id of one of the {} tokens, got {}", vocab_size(), id);
  }
  return found;
}

std::optional<int64_t> Tokenizer::Parts::token_to_id(std::string_view token) const {
  if (const AddedToken* found = added->find(token)) return found->id;
  return model->vocabulary().find(token);
}

bool Tokenizer::Parts::is_special(int64_t id) const {
  const AddedToken* token = added->find(id);
  if (!token) return false;
  // What counts is whether the text that decoding sees is one of a special token.
  const AddedToken* same = added->find(token->normalized_content);
  return same && same->special;
}

size_t Tokenizer::Parts::vocab_size() const {
  size_t size = model->vocabulary().size();
  for (const AddedToken& token : added->tokens()) {
    if (!model->vocabulary().find(token.content)) ++size;
  }
  return size;
}

}  // namespace ostinato::text
