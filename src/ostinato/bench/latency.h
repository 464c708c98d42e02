#pragma once

#include <cstddef>
#include <optional>
#include <vector>

namespace ostinato::bench {

/// The statistics of one lane's timed calls, in milliseconds.
struct Latency {
  size_t n = 0;
  double mean = 0, std = 0, mad = 0, min = 0, max = 0, p50 = 0;
  std::optional<double> p90, p95, p99;  ///< only with enough samples
};

/// Samples below which a percentile is not quoted: the early-stopping floors of MLPerf inference
/// (github.com/mlcommons/inference_policies).
inline constexpr size_t kSamplesForP90 = 64;
inline constexpr size_t kSamplesForP95 = 130;
inline constexpr size_t kSamplesForP99 = 662;

/// All zero without samples.
Latency summarise(std::vector<double> samples_ms);

/// Medians of the four ways to run one graph, in milliseconds.
struct TwoByTwo {
  double eager, eager_optimised, graph_unfused, graph;
};

/// What of the gain of graph over eager is the passes' and what the replay's. Each has two ratios,
/// one for either state of the other; `passes` and `replay` are their geometric means, so that
/// their product is eager over graph exactly.
struct Gain {
  double passes, passes_op_by_op, passes_replayed;
  double replay, replay_unfused, replay_optimised;
};

Gain gain_of(const TwoByTwo& medians);

}  // namespace ostinato::bench
