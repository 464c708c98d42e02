#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ostinato/ir/graph.h"

/// Graphs as text that a person can read and `parse` reads back; docs/graph-text.md describes it.
namespace ostinato::ir {

/// `float32(1, s0)`.
std::string to_string(const ValueType& type);

/// One statement: `%3 : float32(2) = aten._softmax(%1) {dim=-1} @ "model.attention"`.
std::string to_string(const Node& node);

/// The whole graph. `print(parse(print(g), table)) == print(g)`. The values of small constants that
/// have no name are in the text; those of the others are not: see `external_constants`.
std::string print(const Graph& graph);

/// Reads what `print` writes. Throws `corrupt` naming the line, what was expected and what was
/// found; a graph that it returns passes `verify`. Constants whose values are not in the text have
/// undefined data until `attach_constants`.
Graph parse(std::string_view text, const OpTable& table);

/// The calls of a graph that has neither constants nor states, as one line that an attribute can
/// hold: `%2 = aten.mul.Tensor(%0, %1); %3 = aten.silu(%2)`, the inputs being %0, %1, …. The ids
/// are those the graph gave, inputs first; each call has one result, and the last is the output.
std::string print_program(const Graph& graph);

/// Reads what `print_program` writes, for inputs of these types. Throws `corrupt`.
Graph parse_program(std::string_view text, std::span<const ValueType> inputs, const OpTable& table);

/// The constants whose values are not in the text, by the names they have in it. Constants without
/// a name are given one: `constant.ID`.
std::vector<std::pair<std::string, const Value*>> external_constants(const Graph& graph);

/// Gives every constant without data the tensor of its name. Throws `not_found` for one that
/// `lookup` has not (an undefined tensor), `corrupt` for a wrong dtype or shape, naming it.
void attach_constants(Graph& graph, const std::function<Tensor(const std::string& name)>& lookup);

}  // namespace ostinato::ir
