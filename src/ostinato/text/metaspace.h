#pragma once

#include "ostinato/text/json_part.h"

namespace ostinato::text {

/// When Metaspace puts its character before a text that has no space there.
enum class PrependScheme { first, never, always };

/// What the pre-tokenizer and the decoder of that name share.
struct MetaspaceOptions {
  explicit MetaspaceOptions(JsonPart& part);

  char32_t replacement;
  PrependScheme scheme = PrependScheme::always;
  bool split;
};

}  // namespace ostinato::text
