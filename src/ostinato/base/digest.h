#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace ostinato {

/// 128 bits that stand for a string of bytes. Others share them by accident once in 2^64 pairs or
/// so; who wants to can make strings that do.
struct Digest {
  uint64_t high = 0, low = 0;

  bool operator==(const Digest&) const = default;
  std::string str() const;  ///< 32 hexadecimal digits
};

/// At the speed of memory.
/// @param threads that read a large string; their number does not change the digest
Digest digest(std::span<const uint8_t> bytes, int threads = 1);

}  // namespace ostinato
