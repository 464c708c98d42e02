#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ostinato/text/json_part.h"

namespace ostinato::text {

/// Turns tokens back into text, in place; joined, they are the text. Immutable.
class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual void apply(std::vector<std::string>& tokens) const = 0;
  /// Whether this is byte-level decoding and nothing else, which can be streamed byte by byte.
  virtual bool is_byte_level() const { return false; }
  /// Whether the text of `token` can depend on the token after it.
  virtual bool looks_ahead(std::string_view /*token*/) const { return false; }
};

/// The `decoder` section: BPEDecoder, ByteFallback, ByteLevel, Fuse, Metaspace, Replace, Sequence,
/// Strip, WordPiece.
std::unique_ptr<Decoder> read_decoder(const Json& value, const std::string& path);

/// Appends the bytes that a byte-level token stands for; a token with a character outside the byte
/// alphabet stands for itself.
void append_byte_level(std::string_view token, std::string& bytes);

}  // namespace ostinato::text
