#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ostinato/import/model.h"
#include "ostinato/runtime/cache_folder.h"
#include "ostinato/runtime/program.h"
#include "ostinato/runtime/source.h"

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
  std::string cache_dir;              ///< empty: the default
  bool no_cache = false;
  bool json = false;
};

/// Adds MODEL and the flags named, such as `{"--dtype", "--json"}`; a verb names those it heeds.
void add_common_flags(CLI::App& verb, CommonFlags& flags, const std::vector<std::string>& names);

/// `--seed`: any number of 64 bits.
void add_seed_flag(CLI::App& verb, uint64_t& seed, const std::string& help);

/// Of an option that names a file or a folder: an empty name is refused, since it would mean that
/// the option was not given.
CLI::Validator is_path();

/// Token ids with commas between them; throws `invalid_argument` naming the flag.
std::vector<int64_t> parse_ids(std::string_view flag, std::string_view list);

/// Engine options by name, from `--set NAME=VALUE`; throws for an unknown name or a bad value.
struct EngineOptions {
  int64_t capture_limit = 64;
  std::vector<std::string> passes_off;
};
EngineOptions parse_settings(const std::vector<std::string>& settings);

/// MODEL, opened as the flags say. Throws `invalid_argument` for a dtype or for random weights that
/// a graph text file cannot be given.
runtime::Source open_source(const CommonFlags& flags, const Progress& progress,
                            const runtime::CacheFolder& cache = {});

/// What is kept for later starts as the flags say. Warnings go to stderr.
runtime::CacheFolder open_cache(const CommonFlags& flags);

/// What the flags say about how a model is to be opened.
importer::ModelOptions model_options(const CommonFlags& flags, const Progress& progress = {},
                                     const runtime::CacheFolder& cache = {});

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
