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

}  // namespace ostinato::bench
