#include "ostinato/image/orientation.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace ostinato::image {

namespace {

constexpr uint32_t kOrientationTag = 0x0112;

std::optional<int> valid(uint32_t value) {
  if (value < 1 || value > 8) return std::nullopt;
  return static_cast<int>(value);
}

/// Numbers of a TIFF file, in its byte order. Outside of the file they are zero.
class TiffReader {
 public:
  TiffReader(std::span<const uint8_t> bytes, bool big_endian)
      : bytes_(bytes), big_endian_(big_endian) {}

  uint32_t read(uint64_t offset, size_t size) const {
    if (offset + size > bytes_.size()) return 0;
    uint32_t value = 0;
    for (size_t i = 0; i < size; ++i) {
      value = value << 8 | bytes_[offset + (big_endian_ ? i : size - 1 - i)];
    }
    return value;
  }

 private:
  std::span<const uint8_t> bytes_;
  bool big_endian_;
};

int hex_digit(char character) {
  if (character >= '0' && character <= '9') return character - '0';
  if (character >= 'a' && character <= 'f') return character - 'a' + 10;
  if (character >= 'A' && character <= 'F') return character - 'A' + 10;
  return -1;
}

}  // namespace

std::optional<int> exif_orientation(std::span<const uint8_t> exif) {
  constexpr std::string_view kPrefix("Exif\0\0", 6);
  const std::string_view text(reinterpret_cast<const char*>(exif.data()), exif.size());
  const auto tiff = text.starts_with(kPrefix) ? exif.subspan(kPrefix.size()) : exif;
  if (tiff.size() < 8 || tiff[0] != tiff[1] || (tiff[0] != 'I' && tiff[0] != 'M')) {
    return std::nullopt;
  }
  const TiffReader reader(tiff, tiff[0] == 'M');
  const uint64_t directory = reader.read(4, 4);
  const uint32_t entries = reader.read(directory, 2);
  for (uint32_t i = 0; i < entries; ++i) {
    const uint64_t entry = directory + 2 + uint64_t{12} * i;
    if (reader.read(entry, 2) != kOrientationTag) continue;
    switch (reader.read(entry + 2, 2)) {  // the type: byte, short or long
      case 1: return valid(reader.read(entry + 8, 1));
      case 3: return valid(reader.read(entry + 8, 2));
      case 4: return valid(reader.read(entry + 8, 4));
      default: return std::nullopt;
    }
  }
  return std::nullopt;
}

std::optional<int> raw_profile_orientation(std::string_view text) {
  // An empty line, the profile's name and its length come before the digits.
  for (int line = 0; line < 3; ++line) {
    const size_t end = text.find('\n');
    if (end == text.npos) return std::nullopt;
    text.remove_prefix(end + 1);
  }
  std::vector<uint8_t> bytes;
  int high = -1;
  for (char character : text) {
    const int digit = hex_digit(character);
    if (digit < 0) continue;
    if (high < 0) {
      high = digit;
    } else {
      bytes.push_back(static_cast<uint8_t>(high << 4 | digit));
      high = -1;
    }
  }
  return exif_orientation(bytes);
}

std::optional<int> xmp_orientation(std::string_view xmp) {
  constexpr std::string_view kTag = "tiff:Orientation";
  for (size_t at = xmp.find(kTag); at != xmp.npos; at = xmp.find(kTag, at + 1)) {
    std::string_view rest = xmp.substr(at + kTag.size());
    if (rest.starts_with("=\"")) {
      rest.remove_prefix(2);
    } else if (rest.starts_with('>')) {
      rest.remove_prefix(1);
    } else {
      continue;
    }
    if (!rest.empty() && hex_digit(rest[0]) >= 0) {
      return valid(static_cast<uint32_t>(hex_digit(rest[0])));
    }
  }
  return std::nullopt;
}

Picture upright(Picture picture, int orientation) {
  if (orientation <= 1 || orientation > 8) return picture;
  const int64_t width = picture.width;
  const int64_t height = picture.height;
  const bool swaps_axes = orientation >= 5;
  const bool from_right =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_bottom =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;

  Picture result{swaps_axes ? height : width, swaps_axes ? width : height, {}};
  result.rgb.resize(picture.rgb.size());
  uint8_t* target = result.rgb.data();
  for (int64_t y = 0; y < result.height; ++y) {
    for (int64_t x = 0; x < result.width; ++x, target += 3) {
      int64_t column = swaps_axes ? y : x;
      int64_t row = swaps_axes ? x : y;
      if (from_right) column = width - 1 - column;
      if (from_bottom) row = height - 1 - row;
      std::copy_n(picture.rgb.data() + (row * width + column) * 3, 3, target);
    }
  }
  return result;
}

}  // namespace ostinato::image
