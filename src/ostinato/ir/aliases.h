#pragma once

#include <unordered_map>

#include "ostinato/ir/graph.h"

namespace ostinato::ir {

/// How a call lays out one of its results, where it is not written to a state. Row-major, but for
/// `strided` operators: as the only reader wants it, where that permutes it; like the operand that
/// it may overwrite, where only `strided` operators read it.
/// @param operand of `Node::in_place_operand`, if there is one
Layout result_layout(const Node& node, size_t result, const Layout* operand);

/// The memory that a value shows, and how.
struct Alias {
  const Value* base = nullptr;  ///< whose memory it is: the value itself, unless it is a view
  Layout layout;                ///< within it
};

/// Of every value of a graph whose sizes are integers, when views are strides wherever strides can
/// express them, writes to states happen in the states, and all else is dense memory of its own.
std::unordered_map<const Value*, Alias> find_aliases(const Graph& graph);

}  // namespace ostinato::ir
