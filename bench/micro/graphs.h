#pragma once

#include <map>
#include <string>
#include <vector>

#include "ostinato/ir/text.h"
#include "ostinato/ops/ops.h"
#include "support/random.h"

/// Graphs for measurements, from their statements.
namespace ostinato {

inline Tensor random_tensor(const ir::ValueType& type) {
  Random random(0);
  return random_tensor(random, type.dtype, to_integers(type.shape));
}

/// Constants have names, and get random elements.
inline ir::Graph make_graph(const std::string& statements) {
  ir::Graph graph = ir::parse("ostinato.graph 1 \"kernel\"\n" + statements, ops::table());
  std::map<std::string, const ir::Value*> constants;
  for (const auto& [name, value] : external_constants(graph)) constants.emplace(name, value);
  ir::attach_constants(
      graph, [&](const std::string& name) { return random_tensor(constants.at(name)->type); });
  return graph;
}

inline std::vector<Tensor> random_inputs(const ir::Graph& graph) {
  std::vector<Tensor> inputs;
  for (const ir::Value* input : graph.inputs()) inputs.push_back(random_tensor(input->type));
  return inputs;
}

}  // namespace ostinato
