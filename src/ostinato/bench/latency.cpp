#include "ostinato/bench/latency.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace ostinato::bench {

namespace {

/// Linear interpolation between the two nearest ranks, as NumPy's default.
double percentile(const std::vector<double>& sorted, double share) {
  const double rank = share * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<size_t>(rank);
  const size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (rank - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

}  // namespace

Latency summarise(std::vector<double> samples) {
  Latency result;
  if (samples.empty()) return result;
  std::sort(samples.begin(), samples.end());
  const auto count = static_cast<double>(samples.size());
  result.n = samples.size();
  result.mean = std::accumulate(samples.begin(), samples.end(), 0.0) / count;
  double squares = 0;
  for (double sample : samples) squares += (sample - result.mean) * (sample - result.mean);
  if (samples.size() > 1) result.std = std::sqrt(squares / (count - 1));
  result.min = samples.front();
  result.max = samples.back();
  result.p50 = percentile(samples, 0.50);
  if (samples.size() >= kSamplesForP90) result.p90 = percentile(samples, 0.90);
  if (samples.size() >= kSamplesForP95) result.p95 = percentile(samples, 0.95);
  if (samples.size() >= kSamplesForP99) result.p99 = percentile(samples, 0.99);
  for (double& sample : samples) sample = std::abs(sample - result.p50);
  std::sort(samples.begin(), samples.end());
  result.mad = percentile(samples, 0.50);
  return result;
}

Gain gain_of(const TwoByTwo& m) {
  Gain gain{};
  gain.passes_op_by_op = m.eager / m.eager_optimised;
  gain.passes_replayed = m.graph_unfused / m.graph;
  gain.passes = std::sqrt(gain.passes_op_by_op * gain.passes_replayed);
  gain.replay_unfused = m.eager / m.graph_unfused;
  gain.replay_optimised = m.eager_optimised / m.graph;
  gain.replay = std::sqrt(gain.replay_unfused * gain.replay_optimised);
  return gain;
}

}  // namespace ostinato::bench
