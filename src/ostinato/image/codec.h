#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "ostinato/base/error.h"
#include "ostinato/image/picture.h"

/// What `picture.cpp` and the two decoders share.
namespace ostinato::image {

inline constexpr std::string_view kDecodeStage = "image/decode";

/// A picture as its file stores it.
struct StoredPicture {
  Picture picture;
  int orientation = 1;
};

StoredPicture decode_jpeg(std::span<const uint8_t> bytes, std::string_view name,
                          int64_t max_pixels);
StoredPicture decode_png(std::span<const uint8_t> bytes, std::string_view name, int64_t max_pixels);

[[noreturn]] void fail_damaged(std::string_view name, std::string_view reason);
[[noreturn]] void fail_unsupported(std::string_view name, std::string_view what,
                                   std::string_view conversion);
void check_pixels(std::string_view name, int64_t width, int64_t height, int64_t max_pixels);

}  // namespace ostinato::image
