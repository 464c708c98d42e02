#include "ostinato/image/picture.h"

#include <array>
#include <utility>

#include "ostinato/base/mapped_file.h"
#include "ostinato/image/codec.h"
#include "ostinato/image/orientation.h"

namespace ostinato::image {

namespace {

using namespace std::string_view_literals;

struct Signature {
  size_t offset;
  std::string_view bytes;
  std::string_view format;
};

constexpr std::array kOtherFormats = {
    Signature{0, "GIF8"sv, "GIF"},         Signature{8, "WEBP"sv, "WebP"},
    Signature{0, "BM"sv, "BMP"},           Signature{0, "II*\0"sv, "TIFF"},
    Signature{0, "MM\0*"sv, "TIFF"},       Signature{4, "ftypavif"sv, "AVIF"},
    Signature{4, "ftyphei"sv, "HEIC"},     Signature{4, "ftypmif1"sv, "HEIC"},
    Signature{0, "\xff\x0a"sv, "JPEG XL"}, Signature{4, "JXL "sv, "JPEG XL"},
    Signature{4, "jP  "sv, "JPEG 2000"},   Signature{0, "%PDF"sv, "PDF"},
};

[[noreturn]] void fail_other_format(std::string_view file, std::string_view name) {
  for (const Signature& signature : kOtherFormats) {
    if (file.size() > signature.offset &&
        file.substr(signature.offset).starts_with(signature.bytes)) {
      fail_unsupported(name, fmt::format("a file in {} format", signature.format), "");
    }
  }
  fail(ErrorCode::invalid_argument, kDecodeStage, "Give the path of a JPEG or PNG picture.",
       "expected a picture, got {} {}", file.empty() ? "the empty file" : "something else in",
       name);
}

}  // namespace

void fail_damaged(std::string_view name, std::string_view reason) {
  fail(ErrorCode::corrupt, kDecodeStage, "The file is truncated or damaged: fetch it again.",
       "could not decode {}: {}", name, reason);
}

void fail_unsupported(std::string_view name, std::string_view what, std::string_view conversion) {
  fail(ErrorCode::unsupported, kDecodeStage,
       fmt::format("Convert it, for example with ImageMagick: convert 'IN[0]' {}{}OUT.png.",
                   conversion, conversion.empty() ? "" : " "),
       "expected an 8-bit grey or RGB picture as JPEG or PNG, got {}: {}", what, name);
}

void check_pixels(std::string_view name, int64_t width, int64_t height, int64_t max_pixels) {
  if (width < 1 || height < 1) fail_damaged(name, fmt::format("its size is {}×{}", width, height));
  if (width > max_pixels / height) {
    fail_unsupported(name,
                     fmt::format("{}×{} pixels, where the limit is {}", width, height, max_pixels),
                     "-resize 4096x4096");
  }
}

Picture decode(std::span<const uint8_t> bytes, std::string_view name, int64_t max_pixels) {
  const std::string_view file(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  StoredPicture stored;
  if (file.starts_with("\xff\xd8\xff")) {
    stored = decode_jpeg(bytes, name, max_pixels);
  } else if (file.starts_with("\x89PNG\r\n\x1a\n")) {
    stored = decode_png(bytes, name, max_pixels);
  } else {
    fail_other_format(file, name);
  }
  return upright(std::move(stored.picture), stored.orientation);
}

Picture read_picture(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  return decode(file->bytes(), path.string());
}

}  // namespace ostinato::image
