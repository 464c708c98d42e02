#include "ostinato/passes/expand.h"

#include "ostinato/passes/rewrite.h"

namespace ostinato::passes {

bool expand_fused(ir::Graph& graph) {
  bool changed = false;
  const auto& nodes = graph.nodes();
  for (auto it = nodes.begin(); it != nodes.end();) {
    ir::Node* node = (it++)->get();
    if (node->op->expand == nullptr) continue;
    ir::Builder build = builder_before(graph, node);
    const std::vector<ir::Value*> results = node->op->expand(build, *node);
    for (size_t i = 0; i < results.size(); ++i) {
      graph.replace_all_uses(node->results[i], results[i]);
    }
    it = std::next(node->position);
    graph.erase(node);
    changed = true;
  }
  return changed;
}

}  // namespace ostinato::passes
