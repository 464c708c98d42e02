#include "ostinato/ops/activation.h"
#include "ostinato/passes/match.h"
#include "ostinato/passes/pass.h"
#include "ostinato/passes/rewrite.h"

// What follows a product elementwise is applied to its tiles while they are in registers.
namespace ostinato::passes {

namespace {

using ir::Node;
using ir::Value;
using ops::Activation;

/// A product that so many operands read and nothing else, and to which nothing is added yet.
const Node* open_product(const Value* value, size_t readers) {
  const Node* node = call_of(value, {"aten.linear", "linear"});
  if (node == nullptr || value->uses.size() != readers || value->output_uses > 0) return nullptr;
  const bool added = node->op->name == "linear" && node->operand("residual") != nullptr;
  return added ? nullptr : node;
}

/// What an activation is of and how many of its operands that is, and which it is.
struct Activated {
  Value* x;
  size_t readers;
  Activation activation;
};

/// By an operator of its own.
std::optional<Activated> named_activation(const Node& node) {
  const std::string_view name = node.op->name;
  if (name == "aten.relu") return Activated{node.operands[0], 1, Activation::relu};
  if (name == "aten.silu") return Activated{node.operands[0], 1, Activation::silu};
  if (name != "aten.gelu") return std::nullopt;
  const bool tanh = node.string("approximate") == "tanh";
  return Activated{node.operands[0], 1, tanh ? Activation::gelu_tanh : Activation::gelu};
}

/// By its formula: x · σ(x), or x · σ(1.702 · x).
std::optional<Activated> sigmoid_activation(const Node& node) {
  if (node.op->name != "aten.mul.Tensor") return std::nullopt;
  for (const size_t side : {size_t{1}, size_t{0}}) {
    const Node* sigmoid = only_call_of(node.operands[side], {"aten.sigmoid"});
    if (sigmoid == nullptr) continue;
    Value *x = node.operands[1 - side], *inner = sigmoid->operands[0];
    if (inner == x) return Activated{x, 2, Activation::silu};
    const bool is_part = is_read_once(inner) && inner->producer != nullptr;
    const std::optional<Scaled> part = is_part ? scaled(*inner->producer) : std::nullopt;
    if (part && part->value == x && is_close(part->factor, ops::kQuickGelu)) {
      return Activated{x, 2, Activation::quick_gelu};
    }
  }
  return std::nullopt;
}

Value* linear(ir::Graph& graph, const Node* node, const Node& product, Value* residual,
              std::string_view activation) {
  return builder_before(graph, node)(
      "linear", {product.operands[0], product.operands[1], product.operands[2], residual},
      {{"activation", std::string(activation)}});
}

Value* fuse_activation(ir::Graph& graph, const Node* node) {
  std::optional<Activated> found = named_activation(*node);
  if (!found) found = sigmoid_activation(*node);
  const Node* product = found ? open_product(found->x, found->readers) : nullptr;
  if (product == nullptr) return nullptr;
  if (product->op->name == "linear" && product->string("activation") != "none") return nullptr;
  return linear(graph, node, *product, nullptr, ops::name_of(found->activation));
}

Value* fuse_residual(ir::Graph& graph, const Node* node) {
  if (!is_plain_sum(*node)) return nullptr;
  for (const size_t side : {size_t{1}, size_t{0}}) {
    const Node* product = open_product(node->operands[side], 1);
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
