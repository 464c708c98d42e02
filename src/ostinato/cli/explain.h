#pragma once

#include <string>

#include "ostinato/base/json.h"
#include "ostinato/passes/history.h"

namespace ostinato::cli {

/// What the calls that `what` names are, read, and came from: one object each.
/// @param what a value's id (`%12` or `12`), an operator, a module or source line of the user's
///     model, or the name of an input, a weight or a state, which stands for the calls that read it
/// Throws `not_found` when no call of the graph is that.
Json explain(const ir::Graph& graph, const passes::History& history, const std::string& what);

/// The same of one call.
Json explain_call(const ir::Node& node, const passes::History& history);

void print_explanation(const Json& calls);

}  // namespace ostinato::cli
