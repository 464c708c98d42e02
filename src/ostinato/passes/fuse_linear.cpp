#include "ostinato/passes/match.h"
#include "ostinato/passes/pass.h"
#include "ostinato/passes/rewrite.h"

// What follows a product elementwise is applied to its tiles while they are in registers.
namespace ostinato::passes {

namespace {

using ir::Node;
using ir::Value;

/// A product that nothing else reads, and to which nothing is added yet.
const Node* open_product(const Value* value) {
  const Node* node = only_call_of(value, {"aten.linear", "linear"});
  const bool fused = node != nullptr && node->op->name == "linear";
  return fused && node->operand("residual") != nullptr ? nullptr : node;
}

/// As `linear` names it; empty for other operators.
std::string_view activation_of(const Node& node) {
  const std::string_view name = node.op->name;
  if (name == "aten.relu") return "relu";
  if (name == "aten.silu") return "silu";
  if (name != "aten.gelu") return "";
  return node.string("approximate") == "tanh" ? "gelu_tanh" : "gelu";
}

Value* linear(ir::Graph& graph, const Node* node, const Node& product, Value* residual,
              std::string_view activation) {
  return builder_before(graph, node)(
      "linear", {product.operands[0], product.operands[1], product.operands[2], residual},
      {{"activation", std::string(activation)}});
}

Value* fuse_activation(ir::Graph& graph, const Node* node) {
  const std::string_view activation = activation_of(*node);
  const Node* product = activation.empty() ? nullptr : open_product(node->operands[0]);
  if (product == nullptr) return nullptr;
  if (product->op->name == "linear" && product->string("activation") != "none") return nullptr;
  return linear(graph, node, *product, nullptr, activation);
}

Value* fuse_residual(ir::Graph& graph, const Node* node) {
  if (!is_plain_sum(*node)) return nullptr;
  for (const size_t side : {size_t{1}, size_t{0}}) {
    const Node* product = open_product(node->operands[side]);
    Value* residual = node->operands[1 - side];
    if (product == nullptr || residual->type != node->operands[side]->type) continue;
    const bool active = product->op->name == "linear";
    return linear(graph, node, *product, residual,
                  active ? product->string("activation") : std::string_view("none"));
  }
  return nullptr;
}

}  // namespace

bool fuse_linear(ir::Graph& graph, const PassContext&) {
  return fuse_calls(graph, {fuse_activation, fuse_residual});
}

}  // namespace ostinato::passes
