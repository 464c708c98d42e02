#pragma once

#include <cstdint>

#include "ostinato/image/picture.h"

namespace ostinato::image {

/// The filters of PIL, with PIL's numbers: those of `resample` in `preprocessor_config.json`.
enum class Filter { nearest = 0, lanczos = 1, bilinear = 2, bicubic = 3, box = 4, hamming = 5 };

/// The picture in another size, to the bit as PIL's `Image.resize` gives it: all filters but
/// `nearest` grow with the factor by which a picture shrinks (antialiasing), columns go before
/// rows, each pass rounds to 8 bits. Throws `invalid_argument` for a size that is not positive or
/// of more than `kMaxPixels` pixels.
Picture resize(const Picture& picture, int64_t width, int64_t height, Filter filter);

}  // namespace ostinato::image
