#include <array>
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

// They need size_t and FILE declared before.
#include <jerror.h>
#include <jpeglib.h>

#include "ostinato/image/codec.h"
#include "ostinato/image/orientation.h"

namespace ostinato::image {

namespace {

// More scans than any encoder writes: a small file of very many takes for ever.
constexpr int kMaxScans = 500;

/// libjpeg's error manager, which leaves by longjmp. Only functions whose locals need no
/// destructor stand between `setjmp` and libjpeg.
struct ErrorManager {
  jpeg_error_mgr base;  // first, since libjpeg hands back a pointer to it
  std::jmp_buf escape;
  std::array<char, JMSG_LENGTH_MAX> message;
};
static_assert(std::is_standard_layout_v<ErrorManager>);

ErrorManager& manager_of(j_common_ptr info) { return *reinterpret_cast<ErrorManager*>(info->err); }

[[noreturn]] void leave(j_common_ptr info) {
  ErrorManager& manager = manager_of(info);
  manager.base.format_message(info, manager.message.data());
  std::longjmp(manager.escape, 1);
}

void on_message(j_common_ptr info, int level) {
  if (level >= 0) return;  // a trace
  switch (info->err->msg_code) {
    case JWRN_EXTRANEOUS_DATA:  // cameras pad with it
    case JWRN_JFIF_MAJOR:
    case JWRN_ADOBE_XFORM: return;
    default: leave(info);  // missing or damaged pixels, which libjpeg would fill with grey
  }
}

void on_progress(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= kMaxScans) return;
  std::snprintf(manager_of(info).message.data(), JMSG_LENGTH_MAX, "more than %d scans", kMaxScans);
  std::longjmp(manager_of(info).escape, 1);
}

class JpegDecoder {
 public:
  JpegDecoder(std::span<const uint8_t> bytes, std::string_view name) : name_(name) {
    info_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = leave;
    errors_.base.emit_message = on_message;
    progress_.progress_monitor = on_progress;
    if (!start(bytes.data(), bytes.size())) fail_damaged(name_, errors_.message.data());
  }

  ~JpegDecoder() { jpeg_destroy_decompress(&info_); }
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;

  StoredPicture decode(int64_t max_pixels) {
    if (info_.num_components == 4) {
      fail_unsupported(name_, "a CMYK picture", "-colorspace sRGB");
    }
    if (info_.data_precision != 8) {
      fail_unsupported(name_, fmt::format("{} bits a channel", info_.data_precision), "-depth 8");
    }
    check_pixels(name_, info_.image_width, info_.image_height, max_pixels);
    StoredPicture stored{{info_.image_width, info_.image_height, {}}, orientation()};
    stored.picture.rgb.resize(size_t{3} * info_.image_width * info_.image_height);
    if (!read_rows(stored.picture.rgb.data())) fail_damaged(name_, errors_.message.data());
    return stored;
  }

 private:
  static constexpr int kApp1 = JPEG_APP0 + 1;

  bool start(const uint8_t* data, size_t size) {
    if (setjmp(errors_.escape) != 0) {
      jpeg_destroy_decompress(&info_);
      return false;
    }
    jpeg_create_decompress(&info_);
    info_.progress = &progress_;
    jpeg_mem_src(&info_, data, static_cast<unsigned long>(size));
    jpeg_save_markers(&info_, kApp1, 0xffff);
    jpeg_read_header(&info_, TRUE);
    return true;
  }

  bool read_rows(uint8_t* rgb) {
    if (setjmp(errors_.escape) != 0) return false;
    info_.out_color_space = JCS_RGB;
    jpeg_start_decompress(&info_);
    const size_t row_bytes = size_t{3} * info_.output_width;
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW row = rgb + info_.output_scanline * row_bytes;
      jpeg_read_scanlines(&info_, &row, 1);
    }
    jpeg_finish_decompress(&info_);
    return true;
  }

  int orientation() const {
    std::optional<int> from_xmp;
    for (auto marker = info_.marker_list; marker != nullptr; marker = marker->next) {
      const std::span<const uint8_t> data(marker->data, marker->data_length);
      const std::string_view text(reinterpret_cast<const char*>(data.data()), data.size());
      if (text.starts_with("Exif")) {
        if (const auto value = exif_orientation(data)) return *value;
      } else if (text.starts_with("http://ns.adobe.com/xap/1.0/") && !from_xmp) {
        from_xmp = xmp_orientation(text);
      }
    }
    return from_xmp.value_or(1);
  }

  std::string_view name_;
  ErrorManager errors_{};
  jpeg_progress_mgr progress_{};
  jpeg_decompress_struct info_{};
};

}  // namespace

StoredPicture decode_jpeg(std::span<const uint8_t> bytes, std::string_view name,
                          int64_t max_pixels) {
  return JpegDecoder(bytes, name).decode(max_pixels);
}

}  // namespace ostinato::image
