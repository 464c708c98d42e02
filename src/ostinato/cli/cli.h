#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ostinato/import/model.h"
#include "ostinato/runtime/program.h"

namespace ostinato::cli {

/// The flags that several verbs have, with one meaning each.
struct CommonFlags {
  std::string model;
  std::string device = "cpu";
  std::optional<DType> dtype;  ///< none: the dtype of the model's weights
  runtime::Mode mode = runtime::Mode::graph;
  int threads = 0;  ///< set by `finish`: OSTINATO_THREADS, else the processors at hand
  std::string weights = "pretrained";
  uint64_t seed = 0;
  std::string inputs;               ///< a safetensors file
  std::vector<std::string> images;  ///< picture files
  std::vector<std::string> prompts;
  std::vector<std::string> settings;  ///< NAME=VALUE
  bool json = false;
};

/// Adds MODEL and the flags named, such as `{"--dtype", "--json"}`; a verb names those it heeds.
void add_common_flags(CLI::App& verb, CommonFlags& flags, const std::vector<std::string>& names);

/// Engine options by name, from `--set NAME=VALUE`; throws for an unknown name or a bad value.
struct EngineOptions {
  int64_t capture_limit = 64;
  std::vector<std::string> passes_off;
};
EngineOptions parse_settings(const std::vector<std::string>& settings);

/// What the flags say about how a model is to be opened.
importer::ModelOptions model_options(const CommonFlags& flags);

// One function a verb: adds its flags and what to do when it is called.
void add_bench(CLI::App& app);
void add_devices(CLI::App& app);
void add_doctor(CLI::App& app);
void add_generate(CLI::App& app);
void add_inspect(CLI::App& app);
void add_new_model(CLI::App& app);
void add_run(CLI::App& app);
void add_tokenize(CLI::App& app);

}  // namespace ostinato::cli
