// Any bytes are a picture of the size that it states, or an Error.
#include <cstdint>

#include "ostinato/error.h"
#include "ostinato/image/picture.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr int64_t kMaxPixels = 1 << 20;  // larger ones only cost time
  try {
    const auto picture = ostinato::image::decode({data, size}, "fuzz", kMaxPixels);
    const auto bytes = static_cast<size_t>(picture.width * picture.height * 3);
    if (bytes == 0 || bytes != picture.rgb.size()) __builtin_trap();
  } catch (const ostinato::Error& error) {
    if (error.code() == ostinato::ErrorCode::internal) __builtin_trap();
  }
  return 0;
}
