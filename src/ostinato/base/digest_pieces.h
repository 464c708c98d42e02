#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "ostinato/base/digest.h"

/// `digest` in parts, for who reads the bytes in parts anyway: that of `digest_piece` of each
/// `kDigestPiece` bytes, the last fewer, is `join_digests` of them.
namespace ostinato {

inline constexpr size_t kDigestPiece = size_t{1} << 20;

Digest digest_piece(std::span<const uint8_t> bytes);
Digest join_digests(std::span<const Digest> pieces);

}  // namespace ostinato
