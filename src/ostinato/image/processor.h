#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>

#include "ostinato/base/json.h"
#include "ostinato/image/picture.h"
#include "ostinato/image/resize.h"
#include "ostinato/tensor.h"

namespace ostinato::image {

/// The size that a picture is resized to; which members are set says how.
struct TargetSize {
  std::optional<int64_t> height, width;                ///< exactly so, both
  std::optional<int64_t> shortest_edge, longest_edge;  ///< by the first, within the second
  std::optional<int64_t> max_height, max_width;        ///< as large as fits in both
};

/// What `preprocessor_config.json` asks for, with the defaults of its `image_processor_type`.
struct ProcessorOptions {
  bool do_resize = true;
  TargetSize size;
  Filter filter = Filter::bilinear;
  bool do_center_crop = false;
  TargetSize crop_size;  ///< height and width
  bool do_rescale = true;
  double rescale_factor = 1.0 / 255.0;
  bool do_normalize = true;
  std::array<float, 3> mean{}, std{};
};

/// Makes a model's `pixel_values` of pictures as the PIL backend of transformers does: resize,
/// centre crop, rescale, normalise.
class ImageProcessor {
 public:
  /// Reads `preprocessor_config.json`, or the `image_processor` of `processor_config.json`. Where
  /// it names no type, the `model_type` of `config.json` gives it, as in transformers.
  /// Throws `not_found` without such a file, and what `from_json` throws.
  static ImageProcessor from_folder(const std::filesystem::path& folder);

  /// @param config the contents of a `preprocessor_config.json`; a field that is absent has the
  ///     default of the type, null switches its step off
  /// @param source what errors name, usually the file
  /// @param model_type stands in where the config names no type
  /// Throws `unsupported` for a type, a field or a value that the engine has not, and `corrupt`
  /// for a field of the wrong kind.
  static ImageProcessor from_json(const Json& config, std::string_view source,
                                  std::string_view model_type = "");

  /// `pixel_values`, float32 (B, 3, H, W). Throws `invalid_argument` for no pictures, and where
  /// they come out in different sizes.
  Tensor operator()(std::span<const Picture> pictures) const;

  const ProcessorOptions& options() const { return options_; }

 private:
  Picture resized_and_cropped(const Picture& picture) const;

  ProcessorOptions options_;
};

/// The middle of the picture in that size; where it is smaller, it is padded with black.
Picture center_crop(const Picture& picture, int64_t width, int64_t height);

}  // namespace ostinato::image
