#include "ostinato/text/aligned_text.h"

#include "ostinato/base/error.h"

namespace ostinato::text {

AlignedText::AlignedText(std::string_view original) : original_(original), text_(original) {
  if (original.size() > kMaxBytes) {
    fail(ErrorCode::invalid_argument, "text/tokenizer", "Tokenize it in parts.",
         "expected a text of at most {} bytes, got {}", kMaxBytes, original.size());
  }
  pieces_.push_back({0, static_cast<uint32_t>(original.size()), 0, -1});
}

ByteRange AlignedText::alignment(size_t at) const {
  if (!identical_) return alignments_[at];
  while (is_continuation(text_[at])) --at;
  return {static_cast<uint32_t>(at), static_cast<uint32_t>(at + utf8_length(text_[at]))};
}

void PieceWriter::refuse_length() const {
  fail(ErrorCode::unsupported, "text/tokenizer", "Use a tokenizer.json that you trust.",
       "expected the normalizer to write at most {} bytes for a text of {}, got more", limit_,
       from_.original_.size());
}

}  // namespace ostinato::text
