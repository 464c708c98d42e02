#pragma once

#include <string_view>

#include "ostinato/text/json_part.h"
#include "ostinato/text/model.h"

namespace ostinato::text {

/// A `tokenizer.json`, taken apart. The two sections that are as long as the vocabulary go straight
/// from the parser into their tables; the rest is a small document.
struct TokenizerFile {
  Json document;  ///< without `model.vocab` and `model.merges`
  Vocabulary vocabulary;
  MergeList merges;
  bool has_vocabulary = false;
  bool has_merges = false;
};

/// @throws Error when the text is no JSON, nests deeper than 64 levels, or repeats a key
TokenizerFile parse_tokenizer_file(std::string_view json);

}  // namespace ostinato::text
