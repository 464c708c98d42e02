#pragma once

#include <array>
#include <cstdint>

namespace ostinato::text {

/// The alphabet of byte-level BPE (GPT-2): every byte has a printable character. Printable Latin-1
/// bytes stand for themselves, the others for U+0100 and following.
class ByteAlphabet {
 public:
  static constexpr char32_t kEnd = 0x144;  ///< one past the highest character

  constexpr ByteAlphabet() {
    characters_.fill(0);
    bytes_.fill(-1);
    char32_t next = 0x100;
    for (unsigned byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
      characters_[byte] = printable ? byte : next++;
      bytes_[characters_[byte]] = static_cast<int16_t>(byte);
    }
  }

  constexpr char32_t character(uint8_t byte) const { return characters_[byte]; }
  /// The byte that `c` stands for, or -1.
  constexpr int byte(char32_t c) const { return c < kEnd ? bytes_[c] : -1; }

 private:
  std::array<char32_t, 256> characters_;
  std::array<int16_t, kEnd> bytes_;
};

inline constexpr ByteAlphabet kByteAlphabet;

}  // namespace ostinato::text
