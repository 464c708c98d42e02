#pragma once

#include <functional>

#include "ostinato/bench/lane.h"
#include "ostinato/runtime/inputs.h"

namespace ostinato::bench {

struct BenchOptions {
  std::string model;
  std::string device = "cpu";
  std::optional<DType> dtype;  ///< of all lanes but golden, which is float32 always
  int threads = 1;
  /// None: what the model has. Asking for pretrained weights of a folder that has random ones
  /// (see `importer::Model::weight_source`) is an error.
  std::optional<importer::WeightSource> weights;
  uint64_t seed = 0;  ///< of random inputs, and of random weights that are asked for
  size_t capture_limit = 64;
  std::vector<std::string> passes_off;

  std::vector<std::string> lanes = {"golden", "eager", "graph"};  ///< names of `lane_kinds`
  std::vector<int64_t> batch_sizes = {1};
  int64_t warmup = 3;
  int64_t iterations = 100;
  runtime::InputRequest inputs;  ///< its batch size is set from `batch_sizes`
  int64_t max_new_tokens = 128;  ///< of each text, where the model generates
  bool strict = false;           ///< a fallback fails the run
};

/// Says what is being done, for a progress bar: a text and a share in [0, 1].
using Progress = std::function<void(std::string_view what, double share)>;

/// Runs the lanes side by side, each in its own process, timed calls taken in turns, and returns
/// the report (docs/report.md describes it, docs/report.schema.json is its schema).
Json run_bench(const BenchOptions& options, const Progress& progress);

}  // namespace ostinato::bench
