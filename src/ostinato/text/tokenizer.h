#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "ostinato/text/encoding.h"

namespace ostinato::text {

struct EncodeOptions {
  bool add_special_tokens = true;  ///< let the post-processor add its tokens
  bool truncate = true;            ///< obey the file's `truncation` section
  bool pad = true;                 ///< obey the file's `padding` section
};

/// What decoding does with an id that no token has. A model's embedding table is often longer than
/// its vocabulary, so a model, above all one with random weights, can produce such ids.
enum class UnknownIds {
  refuse,  ///< an Error
  skip,    ///< no text, as the `tokenizers` library does
};

/// A HuggingFace `tokenizer.json`: same ids, pieces, offsets and decoded text as the `tokenizers`
/// library. Immutable after loading: threads may share one without locks. Cheap to copy.
///
/// Offered are the models BPE and WordPiece with the parts named in normalizer.h, pre_tokenizer.h,
/// post_processor.h and decoder.h; a part or a field that is not known is an Error, not ignored.
/// Tokens beyond a truncation's length are dropped, so its stride has no effect.
class Tokenizer {
 public:
  /// Reads `folder/tokenizer.json`.
  static Tokenizer from_folder(const std::filesystem::path& folder);
  static Tokenizer from_json(std::string_view json);

  /// Tokenizes a text of any bytes. Bytes that are no UTF-8 count as U+FFFD, as in Python's
  /// `bytes.decode("utf-8", errors="replace")`; offsets count the code points after that.
  Encoding encode(std::string_view text, const EncodeOptions& options = {}) const;
  Encoding encode_pair(std::string_view first, std::string_view second,
                       const EncodeOptions& options = {}) const;

  std::string decode(std::span<const int64_t> ids, bool skip_special_tokens = true,
                     UnknownIds unknown = UnknownIds::refuse) const;

  /// Tokens of the model and added ones together; ids may go further when they have holes.
  size_t vocab_size() const;
  std::optional<int64_t> token_to_id(std::string_view token) const;
  /// The token as the vocabulary has it; nothing when no token has the id.
  std::optional<std::string> id_to_token(int64_t id) const;
  /// Whether decoding skips it as a special token.
  bool is_special(int64_t id) const;

 private:
  friend class StreamDecoder;
  struct Parts;
  explicit Tokenizer(std::shared_ptr<const Parts> parts) : parts_(std::move(parts)) {}

  std::shared_ptr<const Parts> parts_;
};

}  // namespace ostinato::text
