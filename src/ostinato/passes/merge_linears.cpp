#include <algorithm>
#include <unordered_map>

#include "ostinato/passes/match.h"
#include "ostinato/passes/pass.h"
#include "ostinato/passes/rewrite.h"

// Products of one operand with several weights, such as queries, keys and values, become one call:
// one launch over the tiles of all. Each weight stays as it is.
namespace ostinato::passes {

namespace {

using ir::Node;
using ir::Value;

/// What takes long: no product waits for one behind it.
bool is_product(const Node& node) {
  return one_of(node.op->name,
                {"aten.linear", "linear", "linears", "gated_linear", "aten.mm", "aten.addmm",
                 "aten.bmm", "aten.baddbmm", "aten.matmul", "aten.convolution", "attention",
                 "aten.scaled_dot_product_attention", "transformers.grouped_mm_fallback"});
}

/// Whether the value is there before any call.
bool is_leaf(const Value* value) {
  return value == nullptr || (value->kind != ir::ValueKind::result && !shares_state(value));
}

bool can_merge(const ir::Graph& graph, const Node& node) {
  return node.op->name == "aten.linear" && !shares_state(node.operands[0]) &&
         is_leaf(node.operands[1]) && is_leaf(node.operands[2]) && graph.is_used(node.results[0]);
}

/// Products of one operand with no other product between them.
std::vector<std::vector<Node*>> groups_in(const ir::Graph& graph) {
  std::vector<std::vector<Node*>> groups;
  bool open = false;
  for (const auto& node : graph.nodes()) {
    if (!is_product(*node)) continue;
    const bool fits = can_merge(graph, *node);
    if (fits && open && groups.back()[0]->operands[0] == node->operands[0]) {
      groups.back().push_back(node.get());
      continue;
    }
    open = fits;
    if (fits) groups.push_back({node.get()});
  }
  return groups;
}

}  // namespace

bool merge_linears(ir::Graph& graph, const PassContext&) {
  bool changed = false;
  for (const std::vector<Node*>& group : groups_in(graph)) {
    if (group.size() < 2) continue;
    std::vector<Value*> operands{group[0]->operands[0]};
    for (const Node* node : group) {
      operands.insert(operands.end(), {node->operands[1], node->operands[2]});
    }
    const Node* merged = builder_before(graph, group[0]).call("linears", std::move(operands));
    for (size_t i = 0; i < group.size(); ++i) {
      graph.replace_all_uses(group[i]->results[0], merged->results[i]);
      graph.erase(group[i]);
    }
    changed = true;
  }
  return changed;
}

}  // namespace ostinato::passes
