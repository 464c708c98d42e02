#include "ostinato/image/processor_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "ostinato/base/error.h"

namespace ostinato::image {

namespace {

constexpr std::string_view kStage = "image/processor";

using Channels = std::array<float, 3>;
constexpr Channels kHalf = {0.5f, 0.5f, 0.5f};
constexpr Channels kClipMean = {0.48145466f, 0.4578275f, 0.40821073f};
constexpr Channels kClipStd = {0.26862954f, 0.26130258f, 0.27577711f};

TargetSize square(int64_t side) {
  TargetSize size;
  size.height = size.width = side;
  return size;
}

TargetSize shortest(int64_t edge) {
  TargetSize size;
  size.shortest_edge = edge;
  return size;
}

/// A class of transformers that runs the common pipeline, and its defaults.
struct ProcessorType {
  std::string_view name;
  std::vector<std::string_view> model_types;
  bool int_size_is_square;
  ProcessorOptions defaults;
};

ProcessorOptions defaults_of(TargetSize size, Filter filter, std::optional<int64_t> crop,
                             const Channels& mean, const Channels& std) {
  ProcessorOptions options;
  options.size = size;
  options.filter = filter;
  options.do_center_crop = crop.has_value();
  if (crop) options.crop_size = square(*crop);
  options.mean = mean;
  options.std = std;
  return options;
}

const std::vector<ProcessorType>& processor_types() {
  static const std::vector<ProcessorType> types = {
      {"ViT", {"vit"}, true, defaults_of(square(224), Filter::bilinear, {}, kHalf, kHalf)},
      {"DeiT", {"deit"}, true, defaults_of(square(256), Filter::bicubic, 224, kHalf, kHalf)},
      {"CLIP",
       {"clip", "clip_vision_model"},
       false,
       defaults_of(shortest(224), Filter::bicubic, 224, kClipMean, kClipStd)},
      {"Siglip",
       {"siglip", "siglip_vision_model"},
       false,
       defaults_of(square(224), Filter::bicubic, {}, kHalf, kHalf)},
      {"Bit",
       {"bit", "dinov2"},
       false,
       defaults_of(shortest(224), Filter::bicubic, 224, kClipMean, kClipStd)},
  };
  return types;
}

/// Fields that change no pixel of a batch of RGB pictures, whatever their value.
constexpr std::array<std::string_view, 17> kIrrelevant = {
    "image_processor_type",  "feature_extractor_type", "processor_class",  "_processor_class",
    "_valid_processor_keys", "model_input_names",      "do_convert_rgb",   "device",
    "return_tensors",        "disable_grouping",       "image_seq_length", "transformers_version",
    "_name_or_path",         "name_or_path",           "auto_map",         "input_data_format",
    "default_to_square",  // the last is read with the size
};

class ConfigReader {
 public:
  ConfigReader(const Json& config, std::string_view source, std::string_view model_type)
      : config_(config), source_(source) {
    if (!config.is_object()) wrong("the whole", "an object", config);
    find_type(model_type);
    options_ = type_->defaults;
  }

  ProcessorOptions read() {
    int_size_is_square_ = type_->int_size_is_square;
    if (const auto found = config_.find("default_to_square"); found != config_.end()) {
      int_size_is_square_ = boolean("default_to_square", *found);
    }
    for (const auto& [key, value] : config_.items()) read_field(key, value);

    require("do_resize", options_.do_resize, "size");
    require("do_resize", options_.do_resize, "resample");
    require("do_center_crop", options_.do_center_crop, "crop_size");
    require("do_rescale", options_.do_rescale, "rescale_factor");
    require("do_normalize", options_.do_normalize, "image_mean");
    require("do_normalize", options_.do_normalize, "image_std");
    return options_;
  }

 private:
  void find_type(std::string_view model_type) {
    std::string name;
    for (const char* key : {"image_processor_type", "feature_extractor_type"}) {
      const Json* value = field(key);
      if (value == nullptr || !name.empty()) continue;
      if (!value->is_string()) wrong(key, "a string", *value);
      name = value->get<std::string>();
    }
    for (const ProcessorType& type : processor_types()) {
      const std::string_view rest = std::string_view(name).starts_with(type.name)
                                        ? std::string_view(name).substr(type.name.size())
                                        : std::string_view();
      const auto& models = type.model_types;
      if (rest == "ImageProcessor" || rest == "ImageProcessorFast" || rest == "ImageProcessorPil" ||
          rest == "FeatureExtractor" ||
          (name.empty() && std::find(models.begin(), models.end(), model_type) != models.end())) {
        type_ = &type;
        return;
      }
    }
    std::string supported;
    for (const ProcessorType& type : processor_types()) {
      supported += fmt::format("{}{}ImageProcessor", supported.empty() ? "" : ", ", type.name);
    }
    fail(ErrorCode::unsupported, kStage,
         "Pass pixel_values of your own with --inputs, or a model with a processor of that list.",
         "expected image_processor_type to be one of {}, got {} in {}", supported,
         name.empty() ? fmt::format("none and the model type {}", quote(model_type)) : quote(name),
         source_);
  }

  /// A step that is on needs its value: one that null takes away, or that has no default.
  void require(std::string_view step, bool on, std::string_view key) const {
    const auto found = config_.find(key);
    const bool missing = found == config_.end()
                             ? key == "crop_size" && !type_->defaults.do_center_crop
                             : found->is_null();
    if (!on || !missing) return;
    fail(ErrorCode::corrupt, kStage, fmt::format("Set {}, or {} to false.", key, step),
         "expected a {} with {} in {}", key, step, source_);
  }

  /// As in transformers, null is not the default: it switches a step off, and takes a value away.
  void read_field(const std::string& key, const Json& value) {
    if (value.is_null() && !key.starts_with("do_")) return;
    if (key == "do_resize") {
      options_.do_resize = boolean(key, value);
    } else if (key == "size") {
      options_.size = size(key, value, int_size_is_square_);
    } else if (key == "resample") {
      options_.filter = filter(key, value);
    } else if (key == "do_center_crop") {
      options_.do_center_crop = boolean(key, value);
    } else if (key == "crop_size") {
      options_.crop_size = size(key, value, true);
      if (!options_.crop_size.height) refuse(key, value);
    } else if (key == "do_rescale") {
      options_.do_rescale = boolean(key, value);
    } else if (key == "rescale_factor") {
      options_.rescale_factor = number(key, value);
    } else if (key == "do_normalize") {
      options_.do_normalize = boolean(key, value);
    } else if (key == "image_mean") {
      options_.mean = channels(key, value);
    } else if (key == "image_std") {
      options_.std = channels(key, value);
      for (float std : options_.std) {
        if (std == 0.0f) refuse(key, value);
      }
    } else if (key == "do_pad") {
      if (boolean(key, value)) refuse(key, value);
    } else if (key == "data_format") {
      if (value != "channels_first") refuse(key, value);
    } else if (key != "pad_size" &&  // without do_pad of no effect
               std::find(kIrrelevant.begin(), kIrrelevant.end(), key) == kIrrelevant.end()) {
      refuse(key, value);
    }
  }

  const Json* field(const char* key) const {
    const auto found = config_.find(key);
    return found == config_.end() || found->is_null() ? nullptr : &*found;
  }

  bool boolean(std::string_view key, const Json& value) const {
    if (value.is_null()) return false;
    if (!value.is_boolean()) wrong(key, "true or false", value);
    return value.get<bool>();
  }

  double number(std::string_view key, const Json& value) const {
    if (!value.is_number()) wrong(key, "a number", value);
    return value.get<double>();
  }

  int64_t edge(std::string_view key, const Json& value) const {
    if (!value.is_number_unsigned() || value.get<uint64_t>() < 1 ||
        value.get<uint64_t>() > static_cast<uint64_t>(kMaxPixels)) {
      wrong(key, "a positive number of pixels", value);
    }
    return value.get<int64_t>();
  }

  Filter filter(std::string_view key, const Json& value) const {
    constexpr auto kLast = static_cast<uint64_t>(Filter::hamming);
    if (!value.is_number_unsigned() || value.get<uint64_t>() > kLast) {
      wrong(key, "the number of a PIL filter, 0 to 5", value);
    }
    return static_cast<Filter>(value.get<int>());
  }

  Channels channels(std::string_view key, const Json& value) const {
    Channels result{};
    if (value.is_array() && value.size() == result.size()) {
      for (size_t i = 0; i < result.size(); ++i) {
        result[i] = static_cast<float>(number(key, value[i]));
      }
    } else if (value.is_number()) {
      result.fill(static_cast<float>(number(key, value)));
    } else {
      wrong(key, "a number or three", value);
    }
    return result;
  }

  TargetSize size(std::string_view key, const Json& value, bool int_is_square) const {
    if (value.is_number()) {
      return int_is_square ? square(edge(key, value)) : shortest(edge(key, value));
    }
    TargetSize size;
    if (value.is_array() && value.size() == 2) {
      size.height = edge(key, value[0]);
      size.width = edge(key, value[1]);
      return size;
    }
    if (!value.is_object()) wrong(key, "an object of lengths", value);
    const std::array<std::pair<std::string_view, std::optional<int64_t>*>, 6> members = {{
        {"height", &size.height},
        {"width", &size.width},
        {"shortest_edge", &size.shortest_edge},
        {"longest_edge", &size.longest_edge},
        {"max_height", &size.max_height},
        {"max_width", &size.max_width},
    }};
    for (const auto& [name, length] : value.items()) {
      if (length.is_null()) continue;
      const auto member =
          std::find_if(members.begin(), members.end(),
                       [&name = name](const auto& entry) { return entry.first == name; });
      if (member == members.end()) refuse(key, value);
      *member->second = edge(key, length);
    }
    // One way of saying a size, and that one whole.
    const bool exact = size.height && size.width;
    const bool at_most = size.max_height && size.max_width;
    const bool partial = (size.height || size.width) != exact ||
                         (size.max_height || size.max_width) != at_most ||
                         (size.longest_edge && !size.shortest_edge);
    if (partial || exact + at_most + size.shortest_edge.has_value() != 1) refuse(key, value);
    return size;
  }

  [[noreturn]] void wrong(std::string_view key, std::string_view expected,
                          const Json& value) const {
    fail(ErrorCode::corrupt, kStage, "Correct the file, or fetch it again.",
         "expected {} as {} in {}, got {}", expected, key, source_, shown(value));
  }

  [[noreturn]] void refuse(std::string_view key, const Json& value) const {
    fail(ErrorCode::unsupported, kStage,
         "Pass pixel_values of your own with --inputs, or remove the field if it is not needed.",
         "the image processor does not offer {} = {} in {}", quote(key), shown(value), source_);
  }

  static std::string shown(const Json& value) {
    constexpr size_t kLongest = 80;
    std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
    if (text.size() > kLongest) text.replace(kLongest, text.npos, "…");
    return text;
  }

  const Json& config_;
  std::string_view source_;
  const ProcessorType* type_ = nullptr;
  bool int_size_is_square_ = true;
  ProcessorOptions options_;
};

}  // namespace

ProcessorOptions read_processor_options(const Json& config, std::string_view source,
                                        std::string_view model_type) {
  return ConfigReader(config, source, model_type).read();
}

}  // namespace ostinato::image
