#include "ostinato/ir/aliases.h"

#include <optional>

namespace ostinato::ir {

namespace {

using Aliases = std::unordered_map<const Value*, Alias>;

Alias alias_of(const Node& node, size_t index, const Aliases& aliases) {
  const Value* result = node.results[index];
  if (const Value* state = node.overwritten(index)) return aliases.at(state);
  if (node.op->traits.view) {
    const Alias& shown = aliases.at(node.operands[0]);
    if (auto layout = node.op->view(node, index, shown.layout)) return {shown.base, *layout};
  }
  return {result, Layout::contiguous(to_integers(result->shape()))};
}

}  // namespace

Aliases find_aliases(const Graph& graph) {
  Aliases aliases;
  for (const auto* leaves : {&graph.inputs(), &graph.constants(), &graph.states()}) {
    for (const Value* leaf : *leaves) {
      aliases[leaf] = {leaf, Layout::contiguous(to_integers(leaf->shape()))};
    }
  }
  for (const auto& node : graph.nodes()) {
    for (size_t i = 0; i < node->results.size(); ++i) {
      Alias alias = alias_of(*node, i, aliases);
      aliases.emplace(node->results[i], std::move(alias));
    }
  }
  return aliases;
}

}  // namespace ostinato::ir
