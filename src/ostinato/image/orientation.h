#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "ostinato/image/picture.h"

namespace ostinato::image {

/// The orientation tag (1 to 8) of EXIF data, which are a TIFF file, with or without the `Exif\0\0`
/// that JPEG puts before it. Nothing where they have none or are damaged.
std::optional<int> exif_orientation(std::span<const uint8_t> exif);

/// The orientation of EXIF data in the hexadecimal form in which ImageMagick keeps them in a PNG's
/// text `Raw profile type exif`.
std::optional<int> raw_profile_orientation(std::string_view text);

/// The `tiff:Orientation` of an XMP packet.
std::optional<int> xmp_orientation(std::string_view xmp);

/// The picture upright, given the orientation in which it is stored: 1 is upright already.
Picture upright(Picture picture, int orientation);

}  // namespace ostinato::image
