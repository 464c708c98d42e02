#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

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

/// As the text of a graph has it: "float32(197, 768)".
inline std::string type_of(const std::string& dtype, const std::vector<int>& dims) {
  return fmt::format("{}({})", dtype, fmt::join(dims, ", "));
}

/// Writes a graph's statements; each value is known by the name that it is given, as "%3".
class Statements {
 public:
  std::string input(const std::string& type) { return leaf("input", type); }
  std::string constant(const std::string& type) { return leaf("constant", type); }
  /// The call's results.
  std::vector<std::string> call(const std::vector<std::string>& types, const std::string& what) {
    std::vector<std::string> values, results;
    for (const std::string& type : types) {
      values.push_back(fmt::format("%{}", id_++));
      results.push_back(fmt::format("{} : {}", values.back(), type));
    }
    calls_ += fmt::format("{} = {}\n", fmt::join(results, ", "), what);
    return values;
  }
  void output(const std::string& value) {
    outputs_ += fmt::format("output \"{}\" {}\n", value.substr(1), value);
  }
  std::string text() const { return leaves_ + calls_ + outputs_; }

 private:
  std::string leaf(const std::string& kind, const std::string& type) {
    leaves_ += fmt::format("{} %{} \"{}\" : {}\n", kind, id_, id_, type);
    return fmt::format("%{}", id_++);
  }

  int id_ = 0;
  std::string leaves_, calls_, outputs_;
};

inline std::vector<Tensor> random_inputs(const ir::Graph& graph) {
  std::vector<Tensor> inputs;
  for (const ir::Value* input : graph.inputs()) inputs.push_back(random_tensor(input->type));
  return inputs;
}

}  // namespace ostinato
