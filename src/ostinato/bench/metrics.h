#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ostinato/tensor.h"

namespace ostinato::bench {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

enum class Verdict { pass, pass_cosine, fail };

/// `PASS`, `PASS_COSINE`, `FAIL`.
std::string_view name_of(Verdict verdict);

/// The worse of two.
Verdict worse(Verdict a, Verdict b);

/// How near one leaf, or the worst of several, comes to golden. All in double precision.
struct Closeness {
  double cosine = 1;
  double max_abs_diff = 0, mean_abs_diff = 0;
  double max_rel_diff = 0, mean_rel_diff = 0;  ///< of the elements with |golden| above the floor
  double rel_floor = 0;                        ///< a thousandth of the largest |golden|
  double below_floor_share = 0;                ///< of the elements, in [0, 1]
  std::optional<double> top1_match_rate;       ///< of rows whose arg max agrees; logits only
  Verdict verdict = Verdict::pass;
};

struct Accuracy {
  Closeness overall;  ///< the worst of each figure over the leaves; the mean for the means
  std::vector<std::pair<std::string, Closeness>> leaves;
};

/// The gates: `PASS` needs a max_abs_diff of at most 1e-3 and a cosine of at least 0.999,
/// `PASS_COSINE` the latter alone. A NaN or an infinity that golden does not have at the same place
/// fails whatever the figures.
inline constexpr double kMaxAbsDiff = 1e-3;
inline constexpr double kMinCosine = 0.999;

/// Compares by name. Floating leaves may differ in dtype, for lanes run in their own; integer
/// leaves must be equal. Throws `invalid_argument` when names, shapes or kinds of dtype differ.
Accuracy compare(const NamedTensors& golden, const NamedTensors& candidate);

/// Every element as a double, in row-major order.
std::vector<double> to_doubles(const Tensor& tensor);

/// exp of the mean negative log likelihood of each next token under the logits (1, s, V).
double perplexity(const Tensor& logits, std::span<const int64_t> ids);

}  // namespace ostinato::bench
