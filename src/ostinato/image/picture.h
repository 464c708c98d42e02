#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

namespace ostinato::image {

/// A decoded picture: `height` rows of `width` pixels of red, green and blue, one byte each.
struct Picture {
  int64_t width = 0;
  int64_t height = 0;
  std::vector<uint8_t> rgb;
};

/// The pixels beyond which PIL refuses a picture as a decompression bomb.
inline constexpr int64_t kMaxPixels = 178'956'970;

/// Decodes a JPEG or PNG file to what PIL gives for `exif_transpose(picture).convert("RGB")`: grey
/// and palettes become colours, alpha is dropped, and the picture stands upright as its EXIF or XMP
/// orientation says.
/// @param name what the bytes are, usually a path; errors name it
/// Throws `corrupt` for a truncated or damaged picture, `unsupported` for CMYK, 16-bit, animated
/// or larger than `max_pixels`, and for other formats, `invalid_argument` for what is no picture.
Picture decode(std::span<const uint8_t> bytes, std::string_view name,
               int64_t max_pixels = kMaxPixels);

/// The picture in the file; throws also what `MappedFile::open` throws.
Picture read_picture(const std::filesystem::path& path);

}  // namespace ostinato::image
