#include "ostinato/passes/match.h"
#include "ostinato/passes/pass.h"
#include "ostinato/passes/rewrite.h"

// What frameworks make of a dense layer: `aten.addmm`, `aten.mm` or `aten.matmul`, of rows that may
// have been reshaped for it, by a weight as it is stored (as GPT-2's is) or turned.
namespace ostinato::passes {

namespace {

using ir::Node;
using ir::Value;

/// The operand of a weight that was turned, else the weight turned.
Value* turned(ir::Builder& build, Value* matrix) {
  const Node* node = matrix->producer;
  const auto order = node != nullptr ? permutation_of(*node) : std::nullopt;
  if (order == std::vector<size_t>{1, 0}) return node->operands[0];
  return build("aten.t", {matrix});
}

/// Whether the value is no result, or a view of what is none.
bool is_stored(const Value* value) {
  while (value->kind == ir::ValueKind::result) {
    if (!value->producer->op->traits.view) return false;
    value = value->producer->operands[0];
  }
  return value->kind != ir::ValueKind::state;
}

/// What was reshaped to rows, where each is as long as before.
Value* before_rows(Value* rows) {
  const Node* node = reshape_of(rows);
  if (node == nullptr) return rows;
  Value* x = node->operands[0];
  return x->rank() > 1 && x->shape().back() == rows->shape().back() ? x : rows;
}

Value* linear(ir::Graph& graph, const Node* node, Value* rows, Value* matrix, Value* bias) {
  if (!is_stored(matrix) || !is_floating(rows->dtype())) return nullptr;
  ir::Builder build = builder_before(graph, node);
  Value* y = build("aten.linear", {before_rows(rows), turned(build, matrix), bias});
  const ir::Shape& shape = node->results[0]->shape();
  return y->shape() == shape ? y : build("aten.view", {y}, {{"size", shape}});
}

Value* fuse_mm(ir::Graph& graph, const Node* node) {
  if (!one_of(node->op->name, {"aten.mm", "aten.matmul"})) return nullptr;
  if (node->operands[0]->rank() < 2 || node->operands[1]->rank() != 2) return nullptr;
  return linear(graph, node, node->operands[0], node->operands[1], nullptr);
}

Value* fuse_addmm(ir::Graph& graph, const Node* node) {
  if (node->op->name != "aten.addmm") return nullptr;
  Value *bias = node->operands[0], *matrix = node->operands[2];
  const bool plain = scalar_of(*node, "alpha") == 1.0 && scalar_of(*node, "beta") == 1.0;
  if (!plain || bias->rank() != 1 || bias->shape()[0] != matrix->shape()[1]) return nullptr;
  return linear(graph, node, node->operands[1], matrix, bias);
}

/// A bias that is added behind.
Value* fuse_bias(ir::Graph& graph, const Node* node) {
  if (!is_plain_sum(*node)) return nullptr;
  for (const size_t side : {size_t{0}, size_t{1}}) {
    const Node* product = only_call_of(node->operands[side], {"aten.linear"});
    Value* bias = node->operands[1 - side];
    if (product == nullptr || product->operands[2] != nullptr || !is_stored(bias)) continue;
    const Value* y = product->results[0];
    if (bias->type != ir::ValueType{y->dtype(), {y->shape().back()}}) continue;
    return builder_before(graph, node)("aten.linear",
                                       {product->operands[0], product->operands[1], bias});
  }
  return nullptr;
}

}  // namespace

bool use_linear(ir::Graph& graph, const PassContext&) {
  return fuse_calls(graph, {fuse_mm, fuse_addmm, fuse_bias});
}

}  // namespace ostinato::passes
