#include "ostinato/image/processor.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "ostinato/base/error.h"
#include "ostinato/base/mapped_file.h"
#include "ostinato/image/processor_config.h"

namespace ostinato::image {

namespace {

constexpr std::string_view kStage = "image/processor";
constexpr int64_t kChannels = 3;

Json read_json(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  return parse_json({reinterpret_cast<const char*>(file->data()), file->size()}, kStage,
                    path.string());
}

/// The model type that config.json states, if there is one.
std::string model_type_of(const std::filesystem::path& folder) {
  const auto path = folder / "config.json";
  if (!std::filesystem::exists(path)) return "";
  const Json config = read_json(path);
  const auto found = config.is_object() ? config.find("model_type") : config.end();
  return found != config.end() && found->is_string() ? found->get<std::string>() : "";
}

struct Size {
  int64_t height, width;
};

/// The product divided, and what is behind the decimal point dropped, as Python's int() does.
int64_t scaled(int64_t length, int64_t factor, int64_t divisor) {
  return static_cast<int64_t>(static_cast<double>(length) * static_cast<double>(factor) /
                              static_cast<double>(divisor));
}

/// `get_size_with_aspect_ratio` of transformers.
Size by_edges(const Picture& picture, int64_t shortest, int64_t longest) {
  const auto [height, width] = Size{picture.height, picture.width};
  const auto short_side = static_cast<double>(std::min(height, width));
  const auto long_side = static_cast<double>(std::max(height, width));
  const auto wanted = static_cast<double>(shortest);
  double exact = wanted;
  if (long_side / short_side * wanted > static_cast<double>(longest)) {
    exact = static_cast<double>(longest) * short_side / long_side;
    shortest = static_cast<int64_t>(std::nearbyint(exact));  // ties to even, as Python's round
  }
  if (std::min(height, width) == shortest) return {height, width};
  if (width < height) {
    return {static_cast<int64_t>(exact * static_cast<double>(height) / static_cast<double>(width)),
            shortest};
  }
  return {shortest,
          static_cast<int64_t>(exact * static_cast<double>(width) / static_cast<double>(height))};
}

Size target_of(const Picture& picture, const TargetSize& size) {
  if (size.height) return {*size.height, *size.width};
  if (size.max_height) {
    const double scale =
        std::min(static_cast<double>(*size.max_height) / static_cast<double>(picture.height),
                 static_cast<double>(*size.max_width) / static_cast<double>(picture.width));
    return {static_cast<int64_t>(static_cast<double>(picture.height) * scale),
            static_cast<int64_t>(static_cast<double>(picture.width) * scale)};
  }
  const int64_t shortest = *size.shortest_edge;
  if (size.longest_edge) return by_edges(picture, shortest, *size.longest_edge);
  if (picture.width <= picture.height) {
    return {scaled(shortest, picture.height, picture.width), shortest};
  }
  return {shortest, scaled(shortest, picture.width, picture.height)};
}

/// A channel's 256 results: rescaled in double, rounded to float, normalised in float.
std::array<float, 256> levels_of(const ProcessorOptions& options, size_t channel) {
  std::array<float, 256> levels{};
  for (size_t i = 0; i < levels.size(); ++i) {
    const auto pixel = static_cast<double>(i);
    levels[i] = static_cast<float>(options.do_rescale ? pixel * options.rescale_factor : pixel);
    if (options.do_normalize) {
      levels[i] = (levels[i] - options.mean[channel]) / options.std[channel];
    }
  }
  return levels;
}

}  // namespace

Picture center_crop(const Picture& picture, int64_t width, int64_t height) {
  // Where the picture is smaller, transformers pads the odd pixel before it; a crop's odd pixel is
  // cut off behind.
  const auto origin = [](int64_t have, int64_t want) {
    return have >= want ? (have - want) / 2 : -((want - have + 1) / 2);
  };
  const int64_t left = origin(picture.width, width);
  const int64_t top = origin(picture.height, height);
  Picture result{width, height, {}};
  result.rgb.resize(static_cast<size_t>(width * height * kChannels));
  const int64_t first = std::max<int64_t>(left, 0);
  const int64_t count = std::min(left + width, picture.width) - first;
  for (int64_t y = std::max<int64_t>(-top, 0); y < std::min(height, picture.height - top); ++y) {
    std::copy_n(picture.rgb.data() + ((top + y) * picture.width + first) * kChannels,
                count * kChannels, result.rgb.data() + (y * width + first - left) * kChannels);
  }
  return result;
}

ImageProcessor ImageProcessor::from_folder(const std::filesystem::path& folder) {
  const auto own = folder / "preprocessor_config.json";
  const auto shared = folder / "processor_config.json";
  if (std::filesystem::exists(shared)) {  // transformers prefers it
    const Json config = read_json(shared);
    if (config.is_object() && config.contains("image_processor")) {
      return from_json(config["image_processor"], shared.string(), model_type_of(folder));
    }
  }
  if (!std::filesystem::exists(own)) {
    fail(ErrorCode::not_found, kStage,
         "Fetch the model with this file, or pass pixel_values of your own with --inputs.",
         "there is no preprocessor_config.json in {}", folder.string());
  }
  return from_json(read_json(own), own.string(), model_type_of(folder));
}

ImageProcessor ImageProcessor::from_json(const Json& config, std::string_view source,
                                         std::string_view model_type) {
  ImageProcessor processor;
  processor.options_ = read_processor_options(config, source, model_type);
  return processor;
}

Picture ImageProcessor::resized_and_cropped(const Picture& picture) const {
  Picture result;
  if (options_.do_resize) {
    const Size size = target_of(picture, options_.size);
    result = resize(picture, size.width, size.height, options_.filter);
  } else {
    result = picture;
  }
  if (!options_.do_center_crop) return result;
  return center_crop(result, *options_.crop_size.width, *options_.crop_size.height);
}

Tensor ImageProcessor::operator()(std::span<const Picture> pictures) const {
  if (pictures.empty()) {
    fail(ErrorCode::invalid_argument, kStage, "Give at least one picture.",
         "expected a picture, got none");
  }
  const std::array<std::array<float, 256>, kChannels> levels = {
      levels_of(options_, 0), levels_of(options_, 1), levels_of(options_, 2)};
  Tensor values;
  float* target = nullptr;
  for (size_t i = 0; i < pictures.size(); ++i) {
    const Picture picture = resized_and_cropped(pictures[i]);
    const int64_t pixels = picture.width * picture.height;
    if (i == 0) {
      values = Tensor::empty(DType::float32, {static_cast<int64_t>(pictures.size()), kChannels,
                                              picture.height, picture.width});
      target = values.as<float>();
    } else if (picture.height != values.shape()[2] || picture.width != values.shape()[3]) {
      fail(ErrorCode::invalid_argument, kStage,
           "Give pictures of one size, or set a size with height and width.",
           "expected pictures that come out as {}×{}, got {}×{} for picture {}", values.shape()[3],
           values.shape()[2], picture.width, picture.height, i + 1);
    }
    for (size_t c = 0; c < kChannels; ++c) {
      for (int64_t p = 0; p < pixels; ++p) {
        *target++ = levels[c][picture.rgb[static_cast<size_t>(p) * kChannels + c]];
      }
    }
  }
  return values;
}

}  // namespace ostinato::image
