#include "ostinato/ir/builder.h"
#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

namespace {

using ir::Node;
using ir::Shape;
using ir::Value;
using ir::ValueType;

// x · weightᵀ + bias
std::vector<ValueType> infer_aten_linear(const Node& node) {
  const Value *input = node.operand("input"), *weight = node.operand("weight");
  require_floating(node, input);
  require_same_dtype(node, node.operands);
  require_rank(node, weight, 2);
  if (input->rank() == 0) reject(node, "Use aten.mul.Tensor.", "expected at least 1 dim, got ()");
  require_equal(node, fmt::format("the last dim of {}", to_string(input->shape())),
                weight->shape()[1], input->shape().back());
  Shape shape = input->shape();
  shape.back() = weight->shape()[0];
  if (const Value* bias = node.operand("bias")) {
    require_rank(node, bias, 1);
    require_equal(node, "the length of 'bias'", weight->shape()[0], bias->shape()[0]);
  }
  return {{input->dtype(), shape}};
}

// act(x · weightᵀ + bias) + residual
std::vector<ValueType> infer_linear(const Node& node) {
  std::vector<ValueType> types = infer_aten_linear(node);
  require_broadcastable(node, node.operand("residual"), types[0].shape);
  const std::string& activation = node.string("activation");
  for (const std::string_view known : {"none", "relu", "gelu", "gelu_tanh", "silu"}) {
    if (activation == known) return types;
  }
  reject(node, "Use none, relu, gelu, gelu_tanh or silu.", "there is no activation '{}'",
         activation);
}

std::vector<Value*> expand_linear(ir::Builder& builder, const Node& node) {
  Value* y =
      builder("aten.linear", {node.operand("input"), node.operand("weight"), node.operand("bias")});
  const std::string& activation = node.string("activation");
  if (activation == "relu") y = builder("aten.relu", {y});
  if (activation == "silu") y = builder("aten.silu", {y});
  if (activation == "gelu") y = builder("aten.gelu", {y}, {{"approximate", "none"}});
  if (activation == "gelu_tanh") y = builder("aten.gelu", {y}, {{"approximate", "tanh"}});
  if (Value* residual = node.operand("residual")) y = builder("aten.add.Tensor", {y, residual});
  return {y};
}

}  // namespace

void add_linear(ir::OpTable& table) {
  using enum ir::AttrKind;
  using enum ir::OperandKind;
  table.add({.name = "aten.linear",
             .operands = {{"input"}, {"weight"}, {"bias", optional}},
             .infer = infer_aten_linear});
  table.add({.name = "linear",
             .operands = {{"input"}, {"weight"}, {"bias", optional}, {"residual", optional}},
             .attributes = {{"activation", string, std::string("none")}},
             .infer = infer_linear,
             .expand = expand_linear});
}

}  // namespace ostinato::ops
