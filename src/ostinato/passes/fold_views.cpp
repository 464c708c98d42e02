#include "ostinato/ir/builder.h"
#include "ostinato/passes/pass.h"
#include "ostinato/passes/rewrite.h"

namespace ostinato::passes {

namespace {

using ir::Node;
using ir::Shape;
using ir::Value;

/// Dims of size one come or go: strides can always express that.
bool moves_ones(const Node& node) {
  const std::string_view name = node.op->name;
  if (name == "aten.unsqueeze" || name.starts_with("aten.squeeze")) return true;
  const auto permutation = permutation_of(node);
  return permutation && keeps_order(*permutation, node.operands[0]->shape());
}

/// The same elements in the same order under other sizes.
bool is_reshape(const Node& node) {
  const std::string_view name = node.op->name;
  return name == "aten.view" || name == "aten._unsafe_view" || name == "aten.reshape" ||
         moves_ones(node);
}

/// The value that a chain of reshapes ending in the node begins with. A reshape that others read
/// too is not passed over: if it needs a copy, they share that one.
Value* reshaped_value(const Node& node) {
  Value* value = node.operands[0];
  for (;;) {
    const Node* inner = value->producer;
    if (inner == nullptr || !is_reshape(*inner)) return value;
    const bool shared = value->uses.size() > 1 || value->output_uses > 0;
    if (shared && !moves_ones(*inner)) return value;
    value = inner->operands[0];
  }
}

class Folder {
 public:
  explicit Folder(ir::Graph& graph) : graph_(graph) {}

  bool run() {
    bool changed = false;
    const auto& nodes = graph_.nodes();
    for (auto it = nodes.begin(); it != nodes.end();) {
      Node* node = (it++)->get();
      const bool folded = fold_reshape(node) || fold_permutation(node) || fold_expansion(node);
      changed = folded || changed;
    }
    return changed;
  }

 private:
  // Each is false, and the node is still there, when it is none of that kind's.

  bool fold_reshape(Node* node) {
    if (!is_reshape(*node)) return false;
    Value* source = reshaped_value(*node);
    const Shape& shape = node->results[0]->shape();
    if (source == node->operands[0] && source->shape() != shape) return false;
    if (source->shape() == shape) {
      replace(graph_, node, source);
      return true;
    }
    return replace_by(node, "aten.view", source, {"size", shape});
  }

  bool fold_permutation(Node* node) {
    const auto outer_order = permutation_of(*node);
    if (!outer_order) return false;
    const Node* inner = node->operands[0]->producer;
    const auto inner_order = inner != nullptr ? permutation_of(*inner) : std::nullopt;
    if (!inner_order) return false;
    Shape dims;
    for (const size_t dim : *outer_order) {
      dims.emplace_back(static_cast<int64_t>((*inner_order)[dim]));
    }
    return replace_by(node, "aten.permute", inner->operands[0], {"dims", dims});
  }

  bool fold_expansion(Node* node) {
    if (node->op->name != "aten.expand") return false;
    const Node* inner = node->operands[0]->producer;
    if (inner == nullptr || inner->op != node->op) return false;
    return replace_by(node, "aten.expand", inner->operands[0], {"size", node->results[0]->shape()});
  }

  /// Puts one view in the node's place, if it comes to the same type: symbolic sizes may not show
  /// that it does.
  bool replace_by(Node* node, std::string_view op, Value* source,
                  const ir::NamedAttribute& attribute) {
    ir::Builder build = builder_before(graph_, node);
    Value* view = build(op, {source}, {attribute});
    if (view->type != node->results[0]->type) {
      graph_.erase(view->producer);
      return false;
    }
    replace(graph_, node, view);
    return true;
  }

  ir::Graph& graph_;
};

}  // namespace

bool fold_views(ir::Graph& graph, const PassContext&) { return Folder(graph).run(); }

}  // namespace ostinato::passes
