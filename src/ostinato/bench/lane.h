#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ostinato/base/json.h"
#include "ostinato/bench/metrics.h"
#include "ostinato/runtime/context.h"
#include "ostinato/runtime/source.h"

namespace ostinato::bench {

/// A way to run a graph: an executor, and whether the passes have run over the graph before.
struct LaneKind {
  std::string_view name;
  runtime::Mode mode;
  bool optimised;
};

inline constexpr std::string_view kGolden = "golden";
inline constexpr std::string_view kEager = "eager";
inline constexpr std::string_view kGraph = "graph";
inline constexpr std::string_view kEagerOptimised = "eager-optimised";
inline constexpr std::string_view kGraphUnfused = "graph-unfused";
// Of the Python package only, where golden is PyTorch's too.
inline constexpr std::string_view kTorch = "torch";
inline constexpr std::string_view kInductor = "inductor";

/// `golden`, `eager` and `graph`; and the two that make 2×2 of the latter, for which of the gain is
/// the passes' and which the replay's.
std::span<const LaneKind> lane_kinds();

/// Throws `invalid_argument` listing them.
const LaneKind& lane_kind(std::string_view name);

/// A lane to be: how, and what.
struct LaneSpec {
  LaneKind kind;
  std::string model;
  std::string device;
  std::optional<DType> dtype;  ///< none: that of the weights
  int threads = 1;
  std::vector<int> processors;  ///< that its threads are kept to
  importer::WeightSource weights = importer::WeightSource::pretrained;
  uint64_t seed = 0;
  size_t capture_limit = 64;
  std::vector<std::string> passes_off;
};

/// Where the time of a first call went.
struct FirstCall {
  double import_ms = 0, passes_ms = 0, plan_ms = 0, pack_ms = 0, capture_ms = 0, run_ms = 0;
};

/// A lane at work in this process. Each call reports what it measured as JSON with the keys of
/// docs/report.md, so that a lane can as well run in a process of its own (see LaneProcess).
class Lane {
 public:
  explicit Lane(LaneSpec spec);

  /// Compiles for these inputs and runs once: `first_call_ms`, `phases_ms`, what it really runs as
  /// (`device`, `dtype`, `mode`, `threads`, `weights`), `fallbacks`, `packed_weight_bytes` and
  /// `planned_arena_bytes`. A phase that was over before counts nothing.
  Json first_call(const NamedTensors& inputs);

  /// Runs the same inputs again: `samples_ms`. Stops after `budget_ms`, but not before one call.
  Json time(int64_t iterations, double budget_ms);

  /// What the last call gave.
  const NamedTensors& outputs() const { return outputs_; }

  /// Compiles for continuing this prompt with a KV cache and makes the first tokens:
  /// `first_call_ms`, `phases_ms`, and `decode_step` where the device says how it runs one. What
  /// `first_call` compiled is dropped.
  /// @param capacity tokens of the cache
  Json prepare_generation(const std::vector<int64_t>& prompt, int64_t max_new_tokens,
                          int64_t capacity);

  /// Continues the prompt that was prepared, greedily: `tokens`, `first_token_ms`, `token_ms`,
  /// `stopped`.
  Json generate(const std::vector<int64_t>& prompt, int64_t max_new_tokens);

  /// Reads prompt and tokens in one pass and says where this lane would have chosen otherwise:
  /// `first_flip` (null, or {position, token, instead, margin}) and `flips`, their number.
  Json judge(const std::vector<int64_t>& prompt, const std::vector<int64_t>& tokens);

  /// Reads a text in one pass: its `perplexity`, null where that is no finite number.
  Json perplexity(const std::vector<int64_t>& ids);

 private:
  std::unique_ptr<runtime::Context> compile(ir::Graph graph, FirstCall& phases) const;
  static runtime::Executable& prepare(runtime::Context& context, const ir::Bindings& bindings,
                                      FirstCall& phases);
  Json describe(const runtime::Context& context, const runtime::Executable& executable) const;
  const Tensor& read(const std::vector<int64_t>& ids);

  LaneSpec spec_;
  double open_ms_ = 0;  ///< of opening the source, until a first call has reported it
  runtime::Source source_;
  std::unique_ptr<runtime::Context> forward_, decoder_;
  int64_t decoder_capacity_ = 0;
  NamedTensors inputs_, outputs_;
  runtime::Executable* executable_ = nullptr;
  std::vector<void*> input_pointers_, output_pointers_;
};

}  // namespace ostinato::bench
