#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ostinato/text/tokenizer.h"

namespace ostinato::text {

/// Decodes tokens as they are generated. Text comes out as soon as later tokens cannot change it:
/// no code point is ever cut. All that push() and finish() gave, joined, is what
/// Tokenizer::decode() gives for all ids.
class StreamDecoder {
 public:
  explicit StreamDecoder(Tokenizer tokenizer, bool skip_special_tokens = true,
                         UnknownIds unknown = UnknownIds::refuse);

  /// @return the text that `id` completes, possibly none
  std::string push(int64_t id);
  /// @return the text that was still held back; incomplete code points become U+FFFD. The decoder
  /// can then begin anew.
  std::string finish();

 private:
  std::string push_bytes(int64_t id);
  std::string push_window(int64_t id);
  std::string hidden_text() const;  // of the window, what is not out yet

  Tokenizer tokenizer_;
  bool skip_special_tokens_;
  UnknownIds unknown_;
  std::string bytes_;  // byte-level: what may be the beginning of a code point
  // Other decoders look at neighbours: decode a window of ids, of which the text of the first
  // `shown_` is out already.
  std::vector<int64_t> window_;
  size_t shown_ = 0;
};

}  // namespace ostinato::text
