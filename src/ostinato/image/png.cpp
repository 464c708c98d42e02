#include <png.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "ostinato/image/codec.h"
#include "ostinato/image/orientation.h"

namespace ostinato::image {

namespace {

class PngDecoder {
 public:
  PngDecoder(std::span<const uint8_t> bytes, std::string_view name) : rest_(bytes), name_(name) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, on_warning);
    info_ = png_ == nullptr ? nullptr : png_create_info_struct(png_);
    if (info_ == nullptr) {
      png_destroy_read_struct(&png_, nullptr, nullptr);
      fail(ErrorCode::out_of_memory, kDecodeStage, "Free memory.", "could not decode {}", name);
    }
  }

  ~PngDecoder() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngDecoder(const PngDecoder&) = delete;
  PngDecoder& operator=(const PngDecoder&) = delete;

  StoredPicture decode(int64_t max_pixels) {
    if (!read_header()) fail_damaged(name_, message_.data());
    const int64_t width = png_get_image_width(png_, info_);
    const int64_t height = png_get_image_height(png_, info_);
    check_pixels(name_, width, height, max_pixels);
    if (png_get_bit_depth(png_, info_) == 16) {
      fail_unsupported(name_, "16 bits a channel", "-depth 8");
    }
    if (frames() > 1) fail_unsupported(name_, "an animated picture", "");

    StoredPicture stored{{width, height, {}}, 1};
    stored.picture.rgb.resize(static_cast<size_t>(width * height * 3));
    std::vector<png_bytep> rows(static_cast<size_t>(height));
    for (int64_t y = 0; y < height; ++y) {
      rows[static_cast<size_t>(y)] = stored.picture.rgb.data() + y * width * 3;
    }
    if (!read_rows(rows.data())) fail_damaged(name_, message_.data());
    stored.orientation = orientation();
    return stored;
  }

 private:
  // libpng leaves by longjmp into one of the two functions that set it; neither they nor these
  // callbacks have locals that need a destructor.
  [[noreturn]] static void on_error(png_structp png, png_const_charp message) {
    auto& self = *static_cast<PngDecoder*>(png_get_error_ptr(png));
    std::strncpy(self.message_.data(), message, self.message_.size() - 1);
    png_longjmp(png, 1);
  }

  // What libpng only warns of leaves the pixels right: broken text, odd colour profiles.
  static void on_warning(png_structp, png_const_charp) {}

  static void on_read(png_structp png, png_bytep target, size_t size) {
    auto& rest = static_cast<PngDecoder*>(png_get_io_ptr(png))->rest_;
    if (size > rest.size()) png_error(png, "the file ends too early");
    std::copy_n(rest.data(), size, target);
    rest = rest.subspan(size);
  }

  bool read_header() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_read_fn(png_, this, on_read);
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // `check_pixels` has ours
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_ALWAYS, kAnimation, 1);
    png_read_info(png_, info_);
    return true;
  }

  bool read_rows(png_bytepp rows) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_palette_to_rgb(png_);
    png_set_expand_gray_1_2_4_to_8(png_);
    png_set_gray_to_rgb(png_);
    png_set_strip_alpha(png_);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    if (png_get_rowbytes(png_, info_) != size_t{3} * png_get_image_width(png_, info_)) {
      png_error(png_, "its colours are of an unknown kind");
    }
    png_read_image(png_, rows);
    png_read_end(png_, info_);
    return true;
  }

  /// The number of frames of an animated PNG, from its chunk acTL.
  uint32_t frames() const {
    png_unknown_chunkp chunks = nullptr;
    const int count = png_get_unknown_chunks(png_, info_, &chunks);
    for (int i = 0; i < count; ++i) {
      if (std::memcmp(chunks[i].name, kAnimation, 4) == 0 && chunks[i].size >= 4) {
        return png_get_uint_32(chunks[i].data);
      }
    }
    return 1;
  }

  int orientation() const {
    png_uint_32 size = 0;
    png_bytep exif = nullptr;
    if (png_get_eXIf_1(png_, info_, &size, &exif) != 0) {
      if (const auto value = exif_orientation({exif, size})) return *value;
    }
    png_textp texts = nullptr;
    const int count = png_get_text(png_, info_, &texts, nullptr);
    std::optional<int> from_xmp;
    for (int i = 0; i < count; ++i) {
      const std::string_view key = texts[i].key;
      const std::string_view text(texts[i].text,
                                  std::max(texts[i].text_length, texts[i].itxt_length));
      if (key == "Raw profile type exif") {
        if (const auto value = raw_profile_orientation(text)) return *value;
      } else if (key == "XML:com.adobe.xmp" && !from_xmp) {
        from_xmp = xmp_orientation(text);
      }
    }
    return from_xmp.value_or(1);
  }

  static constexpr png_byte kAnimation[5] = {'a', 'c', 'T', 'L', '\0'};

  std::span<const uint8_t> rest_;
  std::string_view name_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::array<char, 256> message_{};
};

}  // namespace

StoredPicture decode_png(std::span<const uint8_t> bytes, std::string_view name,
                         int64_t max_pixels) {
  return PngDecoder(bytes, name).decode(max_pixels);
}

}  // namespace ostinato::image
