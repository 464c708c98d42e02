#include "ostinato/bench/metrics.h"

#include <algorithm>
#include <cmath>

#include "ostinato/base/dtype.h"
#include "ostinato/base/error.h"

namespace ostinato::bench {

namespace {

constexpr double kRelativeFloor = 1e-3;  // of the largest |golden|

bool same_non_finite(double a, double b) {
  return (std::isnan(a) && std::isnan(b)) || (std::isinf(a) && a == b);
}

double cosine_of(double product, double norm_a, double norm_b) {
  if (norm_a == 0 && norm_b == 0) return 1;
  if (norm_a == 0 || norm_b == 0) return 0;
  return product / (std::sqrt(norm_a) * std::sqrt(norm_b));
}

double top1_match_rate(std::span<const double> a, std::span<const double> b, size_t columns) {
  size_t matches = 0;
  const size_t rows = a.size() / columns;
  for (size_t row = 0; row < rows; ++row) {
    const auto arg_max = [&](std::span<const double> values) {
      const auto begin = values.begin() + static_cast<std::ptrdiff_t>(row * columns);
      return std::max_element(begin, begin + static_cast<std::ptrdiff_t>(columns)) - begin;
    };
    matches += arg_max(a) == arg_max(b);
  }
  return rows == 0 ? 1.0 : static_cast<double>(matches) / static_cast<double>(rows);
}

Closeness compare_leaf(const std::string& name, const Tensor& golden, const Tensor& candidate) {
  const std::vector<double> a = to_doubles(golden), b = to_doubles(candidate);
  Closeness result;
  double largest = 0;
  for (double value : a) {
    if (std::isfinite(value)) largest = std::max(largest, std::abs(value));
  }
  result.rel_floor = kRelativeFloor * largest;
  double product = 0, norm_a = 0, norm_b = 0, sum_abs = 0, sum_rel = 0;
  size_t compared = 0, above = 0;
  bool broken = false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) {
      broken = broken || !same_non_finite(a[i], b[i]);
      continue;
    }
    ++compared;
    product += a[i] * b[i];
    norm_a += a[i] * a[i];
    norm_b += b[i] * b[i];
    const double difference = std::abs(a[i] - b[i]);
    sum_abs += difference;
    result.max_abs_diff = std::max(result.max_abs_diff, difference);
    if (std::abs(a[i]) <= result.rel_floor) continue;
    ++above;
    sum_rel += difference / std::abs(a[i]);
    result.max_rel_diff = std::max(result.max_rel_diff, difference / std::abs(a[i]));
  }
  result.cosine = cosine_of(product, norm_a, norm_b);
  if (compared > 0) {
    result.mean_abs_diff = sum_abs / static_cast<double>(compared);
    result.below_floor_share = 1 - static_cast<double>(above) / static_cast<double>(compared);
  }
  if (above > 0) result.mean_rel_diff = sum_rel / static_cast<double>(above);
  const size_t columns = golden.shape().empty() ? 1 : static_cast<size_t>(golden.shape().back());
  if (name == "logits" && columns > 1) result.top1_match_rate = top1_match_rate(a, b, columns);
  const bool exact = !is_floating(golden.dtype());
  if (broken || result.cosine < kMinCosine || (exact && result.max_abs_diff > 0)) {
    result.verdict = Verdict::fail;
  } else if (result.max_abs_diff > kMaxAbsDiff) {
    result.verdict = Verdict::pass_cosine;
  }
  return result;
}

void merge(Closeness& all, const Closeness& leaf, double weight) {
  all.cosine = std::min(all.cosine, leaf.cosine);
  all.max_abs_diff = std::max(all.max_abs_diff, leaf.max_abs_diff);
  all.max_rel_diff = std::max(all.max_rel_diff, leaf.max_rel_diff);
  all.mean_abs_diff += weight * leaf.mean_abs_diff;
  all.mean_rel_diff += weight * leaf.mean_rel_diff;
  all.rel_floor = std::max(all.rel_floor, leaf.rel_floor);
  all.below_floor_share += weight * leaf.below_floor_share;
  if (leaf.top1_match_rate) {
    all.top1_match_rate = std::min(all.top1_match_rate.value_or(1), *leaf.top1_match_rate);
  }
  all.verdict = worse(all.verdict, leaf.verdict);
}

}  // namespace

std::string_view name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::pass: return "PASS";
    case Verdict::pass_cosine: return "PASS_COSINE";
    case Verdict::fail: return "FAIL";
  }
  __builtin_unreachable();
}

Verdict worse(Verdict a, Verdict b) { return std::max(a, b); }

std::vector<double> to_doubles(const Tensor& tensor) {
  std::vector<double> values(static_cast<size_t>(tensor.numel()));
  dispatch(tensor.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* data = tensor.as<T>();
    for (size_t i = 0; i < values.size(); ++i) {
      if constexpr (is_floating_v<T>) {
        values[i] = static_cast<double>(to_float(data[i]));
      } else {
        values[i] = static_cast<double>(data[i]);
      }
    }
  });
  return values;
}

Accuracy compare(const NamedTensors& golden, const NamedTensors& candidate) {
  constexpr std::string_view kStage = "bench/compare";
  constexpr std::string_view kHint = "Compare lanes of the same model and inputs.";
  if (golden.size() != candidate.size()) {
    fail(ErrorCode::invalid_argument, kStage, kHint, "expected {} outputs, got {}", golden.size(),
         candidate.size());
  }
  Accuracy result;
  const double weight = golden.empty() ? 0 : 1.0 / static_cast<double>(golden.size());
  for (const auto& [name, expected] : golden) {
    const auto found =
        std::find_if(candidate.begin(), candidate.end(),
                     [&name = name](const auto& leaf) { return leaf.first == name; });
    if (found == candidate.end()) {
      fail(ErrorCode::invalid_argument, kStage, kHint, "expected an output '{}', got none", name);
    }
    const Tensor& got = found->second;
    if (expected.shape() != got.shape() ||
        is_floating(expected.dtype()) != is_floating(got.dtype())) {
      fail(ErrorCode::invalid_argument, kStage, kHint, "expected {}({}) for '{}', got {}({})",
           ostinato::name_of(expected.dtype()), fmt::join(expected.shape(), ", "), name,
           ostinato::name_of(got.dtype()), fmt::join(got.shape(), ", "));
    }
    result.leaves.emplace_back(name, compare_leaf(name, expected, got));
    merge(result.overall, result.leaves.back().second, weight);
  }
  return result;
}

double perplexity(const Tensor& logits, std::span<const int64_t> ids) {
  const auto vocabulary = static_cast<size_t>(logits.shape().back());
  if (ids.size() < 2) return 1;
  const std::vector<double> values = to_doubles(logits);
  double loss = 0;
  for (size_t i = 0; i + 1 < ids.size(); ++i) {
    const double* row = values.data() + i * vocabulary;
    const double largest = *std::max_element(row, row + vocabulary);
    double sum = 0;
    for (size_t v = 0; v < vocabulary; ++v) sum += std::exp(row[v] - largest);
    loss += largest + std::log(sum) - row[static_cast<size_t>(ids[i + 1])];
  }
  return std::exp(loss / static_cast<double>(ids.size() - 1));
}

}  // namespace ostinato::bench
