#include "ostinato/ir/builder.h"
#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

namespace {

using ir::Node;
using ir::Value;

// The type of the normalised x.
ir::ValueType normalised_type(const Node& node, const ir::ValueType& x) {
  const Value* self = node.operand("self");
  require_floating(node, self);
  if (self->rank() == 0) reject(node, "Use aten.unsqueeze.", "expected at least 1 dim, got ()");
  for (const std::string_view name : {"weight", "bias"}) {
    const Value* operand = node.operand(name);
    if (operand == nullptr) continue;
    require_rank(node, operand, 1);
    require_equal(node, fmt::format("the length of '{}'", name), self->shape().back(),
                  operand->shape()[0]);
  }
  return x;
}

std::vector<ir::ValueType> infer_layer_norm(const Node& node) {
  return {normalised_type(node, node.operand("self")->type)};
}

std::vector<ir::ValueType> infer_add_layer_norm(const Node& node) {
  const Value *self = node.operand("self"), *residual = node.operand("residual");
  require_rank(node, residual, self->rank());
  for (size_t i = 0; i < self->rank(); ++i) {
    require_equal(node, fmt::format("dim {} of 'residual'", i), self->shape()[i],
                  residual->shape()[i]);
  }
  const ir::ValueType sum{promote({node.operands.data(), 2}), self->shape()};
  return {normalised_type(node, sum), sum};
}

Value* normalised(ir::Builder& builder, const Node& node, Value* x) {
  return builder("aten.native_layer_norm", {x, node.operand("weight"), node.operand("bias")},
                 {{"normalized_shape", ir::Shape{x->shape().back()}}, {"eps", node.real("eps")}});
}

std::vector<Value*> expand_layer_norm(ir::Builder& builder, const Node& node) {
  return {normalised(builder, node, node.operand("self"))};
}

std::vector<Value*> expand_add_layer_norm(ir::Builder& builder, const Node& node) {
  Value* sum = builder("aten.add.Tensor", {node.operand("self"), node.operand("residual")});
  return {normalised(builder, node, sum), sum};
}

}  // namespace

void add_layer_norm(ir::OpTable& table) {
  using enum ir::OperandKind;
  // Over the last dim.
  table.add({.name = "layer_norm",
             .operands = {{"self"}, {"weight", optional}, {"bias", optional}},
             .attributes = {{"eps", ir::AttrKind::real}},
             .infer = infer_layer_norm,
             .expand = expand_layer_norm});
  table.add({.name = "add_layer_norm",
             .operands = {{"self"}, {"residual"}, {"weight", optional}, {"bias", optional}},
             .attributes = {{"eps", ir::AttrKind::real}},
             .results = 2,
             .infer = infer_add_layer_norm,
             .expand = expand_add_layer_norm});
}

}  // namespace ostinato::ops
