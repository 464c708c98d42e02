#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ostinato/base/json.h"
#include "ostinato/base/progress.h"
#include "ostinato/tensor.h"

namespace ostinato::importer {

/// A configuration known by name, as the hub's model of that name has it.
struct Preset {
  Json config;
  Json generation;  ///< of a language model; null for others
};

/// Sorted.
std::vector<std::string_view> preset_names();

/// The configuration of that name, or a small one of the same class that differs in its sizes
/// alone. Throws `not_found` with the nearest name.
Preset preset(std::string_view name, bool tiny);

struct NewModelOptions {
  std::optional<DType> dtype = {};  ///< none: the config's
  uint64_t seed = 0;
  std::filesystem::path tokenizer =
      {};  ///< a folder whose tokenizer's files are copied; may be empty
  Progress progress = {};
};

/// What `new_model` made.
struct NewModel {
  std::string architecture;
  DType dtype;
  int64_t parameters;
};

/// Writes a model folder with seeded random weights: model.safetensors, config.json,
/// generation_config.json for a language model, preprocessor_config.json for a picture model, and
/// the tokenizer's files. The metadata of the weights say that they are random. After an error or
/// an interrupt nothing of it is left; should the machine stop, config.json, which comes last, is
/// missing. Throws `invalid_argument` where the folder is there and not empty.
/// @param source what the configuration is called in errors
NewModel new_model(const Preset& preset, const std::string& source,
                   const std::filesystem::path& folder, const NewModelOptions& options);

}  // namespace ostinato::importer
