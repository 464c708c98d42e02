#pragma once

#include <functional>
#include <map>
#include <string>

#include "ostinato/graph.h"

namespace ostinato {

/// Where a rule would apply.
struct RuleMatch {
  /// What stands for the inputs, by the names that the rule has for them: dtype and shape are the
  /// graph's.
  std::map<std::string, TensorSpec, std::less<>> inputs;
  std::map<std::string, double, std::less<>> scalars;  ///< what each stands for there
};

/// A rewrite of your own: wherever a graph computes what `search` does, it is to compute what
/// `replacement` does. In Python: `ostinato.register_replacement`.
///
///     const Rule rule = {
///         .name = "leaky",
///         .search = Graph::parse(R"(ostinato.graph 1 "search"
///     input %0 "x" : float32(n, m)
///     %1 : float32(n, m) = aten.mul.Scalar(%0) {other=0.015625}
///     %2 : float32(n, m) = aten.maximum(%0, %1)
///     output "y" %2
///     )"),
///         .replacement = Graph::parse(R"(ostinato.graph 1 "replacement"
///     input %0 "x" : float32(n, m)
///     %1 : float32(n, m) = aten.leaky_relu(%0) {negative_slope=0.015625}
///     output "y" %1
///     )"),
///         .scalars = {{"slope", 0.015625}},
///         .check = [](const RuleMatch& match) { return match.scalars.at("slope") < 1; },
///     };
///
/// The inputs of `search` stand for any values of their dtypes and ranks: a size that is an integer
/// for itself, a symbol for any size, and for the same one wherever it stands. What lies between
/// inputs and outputs must be read by nothing else in the graph. Operators and attributes must be
/// equal, but for scalars, and for the order of the operands of a sum or product.
struct Rule {
  std::string name;
  Graph search;
  /// Has as many outputs as `search`, of the same types, and takes inputs of the same names.
  Graph replacement;
  /// Numbers that stand for any number, by names of their own: each is the number that it has among
  /// the attributes of `search`, and that nothing else has there. The replacement gets what was
  /// found wherever it has that number.
  std::map<std::string, double> scalars = {};
  /// Whether to apply the rule there; empty for always. What it throws goes through to the caller.
  std::function<bool(const RuleMatch&)> check = {};
};

/// A pass of your own: gives the graph back, or another with the same inputs, outputs and states.
/// What it throws goes through to the caller.
using GraphPass = std::function<Graph(const Graph&)>;

}  // namespace ostinato
