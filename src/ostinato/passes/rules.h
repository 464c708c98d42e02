#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ostinato/ir/graph.h"

/// Rewrites that users bring.
namespace ostinato::passes {

/// Where a rule would apply.
struct RuleMatch {
  std::map<std::string, const ir::Value*> inputs;  ///< by the names that the rule has for them
  std::map<std::string, double> scalars;           ///< what each stands for here
};

/// Wherever a graph computes what `search` does, it is to compute what `replacement` does.
///
/// The inputs of `search` stand for any values of their dtypes and ranks; a size that is an integer
/// for itself, a symbol for any size, and for the same one wherever it stands. What lies between
/// inputs and outputs must be read by nothing else. Operators and attributes must be equal, but for
/// scalars, and for the order of the operands of a sum or product.
struct Rule {
  std::string name;
  std::shared_ptr<const ir::Graph> search, replacement;
  /// Numbers that stand for any number: what each is among the attributes of `search`. The
  /// replacement has what was found wherever it has that number.
  std::map<std::string, double> scalars = {};
  std::function<bool(const RuleMatch&)> check = {};  ///< whether to apply it there; may be empty
};

/// Throws `invalid_argument`, saying why, for a rule that cannot be right whatever it is applied
/// to: outputs of other types, inputs that only one side has, states or random numbers, calls that
/// the first output does not depend on, a scalar that is nowhere.
void check_rule(const Rule& rule);

/// Applies each rule, of which `check_rule` found nothing wrong, wherever it fits, once: what a
/// rule puts in is not searched again. Returns whether one did. Throws `invalid_argument`, naming
/// the rule, where a replacement does not take the values that were found.
bool apply_rules(ir::Graph& graph, const std::vector<Rule>& rules);

}  // namespace ostinato::passes
