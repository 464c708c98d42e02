#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ostinato/text/encoding.h"
#include "ostinato/text/json_part.h"

namespace ostinato::text {

/// Adds the special tokens around one tokenized text or two. Immutable.
class PostProcessor {
 public:
  virtual ~PostProcessor() = default;

  /// How many tokens it adds, which is what truncation must leave room for.
  virtual size_t added_tokens(bool pair) const = 0;

  /// Rewrites the list of encodings, at first one a text; joined, they are the result.
  virtual void apply(std::vector<Encoding>& encodings, bool add_special_tokens) const = 0;
};

/// The `post_processor` section: BertProcessing, ByteLevel, RobertaProcessing, Sequence,
/// TemplateProcessing.
std::unique_ptr<PostProcessor> read_post_processor(const Json& value, const std::string& path);

}  // namespace ostinato::text
