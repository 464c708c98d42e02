#pragma once

#include <initializer_list>
#include <optional>
#include <string_view>
#include <vector>

#include "ostinato/ir/builder.h"
#include "ostinato/ir/graph.h"

/// What the passes share.
namespace ostinato::passes {

/// Whether the value is a state, or what a call has left in one, or a view of either. Its memory
/// may be overwritten, so that a copy of it is more than a name.
bool shares_state(const ir::Value* value);

bool one_of(std::string_view name, std::initializer_list<std::string_view> names);

/// Every use of the node's only result reads `value` instead, and the node is erased.
void replace(ir::Graph& graph, ir::Node* node, ir::Value* value);

/// Makes calls right before the node, which come from where the node does.
ir::Builder builder_before(ir::Graph& graph, const ir::Node* node);

/// Whether a call that writes to states stands between two others, the first of them counted.
bool writes_between(const ir::Node& first, const ir::Node& last);

/// What a fusion makes of a call: a new value for the first result, the only one that is read, or
/// null.
using Fusion = ir::Value* (*)(ir::Graph& graph, const ir::Node* node);

/// Replaces each call by what the first of the fusions makes that takes it. Returns whether one
/// did.
bool fuse_calls(ir::Graph& graph, std::initializer_list<Fusion> fusions);

/// Of `aten.permute`, `aten.transpose.int` and `aten.t`: which operand dim each result dim is;
/// nullopt for every other operator.
std::optional<std::vector<size_t>> permutation_of(const ir::Node& node);

/// Whether the permutation leaves the order of elements as it is: only dims of size one move.
bool keeps_order(const std::vector<size_t>& permutation, const ir::Shape& shape);

/// The call's scalar as a real; nullopt when it depends on symbols.
std::optional<double> scalar_of(const ir::Node& node, std::string_view attribute);

/// The one value that all elements have: of a constant of at most 64 elements, or of a call that
/// fills (`aten.full`, `aten.zeros_like`, …); nullopt when there is none.
std::optional<double> uniform_value(const ir::Value* value);

}  // namespace ostinato::passes
