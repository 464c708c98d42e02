#include <algorithm>

#include "ostinato/passes/pass.h"

namespace ostinato::passes {

bool eliminate_dead(ir::Graph& graph, const PassContext&) {
  bool changed = false;
  const auto& nodes = graph.nodes();
  // From the end, so that whoever only fed the dead is found dead too.
  for (auto it = nodes.end(); it != nodes.begin();) {
    ir::Node* node = (--it)->get();
    const bool used = std::any_of(node->results.begin(), node->results.end(),
                                  [&](const ir::Value* result) { return graph.is_used(result); });
    if (used || node->op->traits.writes()) continue;
    ++it;
    graph.erase(node);
    changed = true;
  }
  return graph.erase_unused_constants() > 0 || changed;
}

}  // namespace ostinato::passes
