#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ostinato/ir/graph.h"

namespace ostinato::ir {

/// Appends calls to a graph by operator name, or inserts them before a node.
class Builder {
 public:
  /// @param before where calls go; null for the end
  Builder(Graph& graph, const OpTable& table, const Node* before = nullptr)
      : graph_(graph), table_(table), before_(before) {}

  Graph& graph() { return graph_; }

  /// The first result of the call. Throws as `Graph::add_node` and `OpTable::at` do.
  Value* operator()(std::string_view op, std::vector<Value*> operands,
                    const std::vector<NamedAttribute>& attributes = {}) {
    return call(op, std::move(operands), attributes)->results.at(0);
  }

  /// The call itself, for operators with several results.
  Node* call(std::string_view op, std::vector<Value*> operands,
             const std::vector<NamedAttribute>& attributes = {});

  /// A scalar or small constant made on the spot. Nameless constants are never looked up among the
  /// weights.
  Value* constant(Tensor data, std::string name = "");

  /// What new nodes carry as `Node::source`: a module path such as `model.layers.0.self_attn`.
  void set_source(std::string source) { source_ = std::move(source); }

 private:
  Graph& graph_;
  const OpTable& table_;
  const Node* before_;
  std::string source_;
};

}  // namespace ostinato::ir
