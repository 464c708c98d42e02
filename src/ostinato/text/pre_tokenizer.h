#pragma once

#include <memory>
#include <string>

#include "ostinato/text/aligned_text.h"
#include "ostinato/text/json_part.h"

namespace ostinato::text {

/// Cuts a normalised text into the words that the model tokenizes one by one. Immutable.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void apply(AlignedText& text) const = 0;
};

/// The `pre_tokenizer` section: BertPreTokenizer, ByteLevel, Digits, Metaspace, Punctuation,
/// Sequence, Split, Whitespace, WhitespaceSplit.
std::unique_ptr<PreTokenizer> read_pre_tokenizer(const Json& value, const std::string& path);

}  // namespace ostinato::text
