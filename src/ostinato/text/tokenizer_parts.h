#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ostinato/text/added_tokens.h"
#include "ostinato/text/decoder.h"
#include "ostinato/text/model.h"
#include "ostinato/text/normalizer.h"
#include "ostinato/text/post_processor.h"
#include "ostinato/text/pre_tokenizer.h"
#include "ostinato/text/tokenizer.h"

namespace ostinato::text {

enum class Direction { right, left };

/// The `truncation` section.
struct Truncation {
  enum class Strategy { longest_first, only_first, only_second };

  explicit Truncation(const Json& section);
  /// Leaves at most `room` tokens in all, of one encoding or two.
  void apply(std::vector<Encoding>& encodings, size_t room) const;

  Direction direction = Direction::right;
  Strategy strategy;
  size_t max_length;

 private:
  void cut(Encoding& encoding, size_t length) const;
  void cut_longest_first(std::vector<Encoding>& encodings, size_t room) const;
};

/// The `padding` section.
struct Padding {
  explicit Padding(const Json& section);
  void apply(Encoding& encoding) const;

  std::optional<size_t> fixed_length;  ///< without it a text alone is as long as itself
  Direction direction;
  size_t multiple_of = 0;
  int64_t id, type_id;
  std::string token;
};

/// What a Tokenizer is made of. The optional parts may be null.
struct Tokenizer::Parts {
  explicit Parts(std::string_view json);

  /// Tokenizes one text, the `sequence`th of a pair, without special tokens.
  Encoding tokenize(std::string_view text, int64_t sequence) const;
  /// Truncates, adds special tokens, joins and pads.
  Encoding finish(std::vector<Encoding> encodings, const EncodeOptions& options) const;

  std::string decode(std::vector<std::string> tokens) const;
  std::optional<std::string_view> token(int64_t id) const;
  /// As token(); when there is none, what `unknown` says.
  std::optional<std::string_view> decodable(int64_t id, UnknownIds unknown) const;
  std::optional<int64_t> token_to_id(std::string_view token) const;
  bool is_special(int64_t id) const;
  size_t vocab_size() const;

  std::unique_ptr<Model> model;
  std::unique_ptr<Normalizer> normalizer;
  std::unique_ptr<PreTokenizer> pre_tokenizer;
  std::unique_ptr<PostProcessor> post_processor;
  std::unique_ptr<Decoder> decoder;
  std::unique_ptr<AddedTokens> added;
  std::optional<Truncation> truncation;
  std::optional<Padding> padding;
};

}  // namespace ostinato::text
