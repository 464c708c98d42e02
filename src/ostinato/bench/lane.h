#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ostinato/base/json.h"
#include "ostinato/bench/metrics.h"
#include "ostinato/runtime/context.h"
#include "ostinato/runtime/source.h"

namespace ostinato::bench {

/// One way to run a model: what is compared.
struct LaneSpec {
  std::string name;  ///< golden, eager or graph
  std::string model;
  std::string device;
  std::optional<DType> dtype;  ///< none: that of the weights
  runtime::Mode mode = runtime::Mode::graph;
  int threads = 1;
  importer::WeightSource weights = importer::WeightSource::pretrained;
  uint64_t seed = 0;
  size_t capture_limit = 64;
  std::vector<std::string> passes_off;
};

/// A prompt to continue, as ids.
struct Prompt {
  std::string text;
  std::vector<int64_t> ids;
};

/// A lane at work in this process. Each call reports what it measured as JSON with the keys of
/// docs/report.md, so that a lane can as well run in a process of its own (see LaneProcess).
class Lane {
 public:
  explicit Lane(LaneSpec spec);

  /// Compiles for these inputs and runs once: `first_call_ms`, `phases_ms`, `planned_arena_bytes`,
  /// and the `dtype` it ran in.
  Json first_call(const NamedTensors& inputs);

  /// Runs the same inputs again: `samples_ms`. Stops after `budget_ms`, but not before one call.
  Json time(int64_t iterations, double budget_ms);

  /// What the last call gave.
  const NamedTensors& outputs() const { return outputs_; }

  /// Continues a prompt greedily with a KV cache: `tokens`, `first_token_ms`, `token_ms`,
  /// `stopped`. The first call of a lane compiles; its cost is in `first_token_ms` of that call.
  Json generate(const std::vector<int64_t>& prompt, int64_t max_new_tokens, bool ignore_stop);

  /// Reads prompt and tokens in one pass and says where this lane would have chosen otherwise:
  /// `first_flip` (null, or {position, token, instead, margin}) and `flips`, their number.
  Json judge(const std::vector<int64_t>& prompt, const std::vector<int64_t>& tokens);

  /// Peak memory of this process so far: `peak_rss_bytes`, `peak_anonymous_bytes`.
  static Json memory();

 private:
  runtime::Context& decoder(int64_t capacity);

  LaneSpec spec_;
  runtime::Source source_;
  double import_ms_ = 0;
  std::unique_ptr<runtime::Context> forward_, decoder_;
  int64_t decoder_capacity_ = 0;
  NamedTensors inputs_, outputs_;
  runtime::Executable* executable_ = nullptr;
  std::vector<void*> input_pointers_, output_pointers_;
};

}  // namespace ostinato::bench
