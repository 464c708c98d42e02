#pragma once

#include <memory>
#include <string>

#include "ostinato/text/aligned_text.h"
#include "ostinato/text/json_part.h"

namespace ostinato::text {

/// Rewrites a text before it is cut into words. Immutable.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(AlignedText& text) const = 0;
};

/// The `normalizer` section: BertNormalizer, ByteLevel, Lowercase, NFC, NFD, NFKC, NFKD, Prepend,
/// Replace, Sequence, Strip, StripAccents.
std::unique_ptr<Normalizer> read_normalizer(const Json& value, const std::string& path);

/// Prepends `prefix` to the piece; its characters belong to the piece's first code point.
void write_prefixed(std::string_view piece, std::string_view prefix, PieceWriter& writer);

/// Rewrites every byte as the printable character that stands for it in byte-level vocabularies.
void write_byte_characters(AlignedText& text);

}  // namespace ostinato::text
