#include "ostinato/ir/builder.h"
#include "ostinato/ops/activation.h"
#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"
#include "ostinato/ops/rms_norm.h"

namespace ostinato::ops {

namespace {

using ir::Node;
using ir::Shape;
using ir::Value;
using ir::ValueType;

// x · weightᵀ + bias; bias may be None
ValueType product_type(const Node& node, const Value* input, const Value* weight,
                       const Value* bias) {
  require_rank(node, weight, 2);
  if (input->rank() == 0) reject(node, "Use aten.mul.Tensor.", "expected at least 1 dim, got ()");
  require_equal(node, fmt::format("the last dim of {}", to_string(input->shape())),
                weight->shape()[1], input->shape().back());
  Shape shape = input->shape();
  shape.back() = weight->shape()[0];
  if (bias != nullptr) {
    require_rank(node, bias, 1);
    require_equal(node, "the length of 'bias'", weight->shape()[0], bias->shape()[0]);
  }
  return {input->dtype(), shape};
}

std::vector<ValueType> infer_aten_linear(const Node& node) {
  const Value* input = node.operand("input");
  require_floating(node, input);
  require_same_dtype(node, node.operands);
  return {product_type(node, input, node.operand("weight"), node.operand("bias"))};
}

Value* activate(ir::Builder& builder, const Node& node, Value* x) {
  switch (activation_of(node)) {
    case Activation::none: return x;
    case Activation::relu: return builder("aten.relu", {x});
    case Activation::gelu: return builder("aten.gelu", {x}, {{"approximate", "none"}});
    case Activation::gelu_tanh: return builder("aten.gelu", {x}, {{"approximate", "tanh"}});
    case Activation::quick_gelu: {
      Value* scaled = builder("aten.mul.Scalar", {x}, {{"other", kQuickGelu}});
      return builder("aten.mul.Tensor", {x, builder("aten.sigmoid", {scaled})});
    }
    case Activation::silu: return builder("aten.silu", {x});
  }
  return x;
}

// act(x · weightᵀ + bias) + residual
std::vector<ValueType> infer_linear(const Node& node) {
  std::vector<ValueType> types = infer_aten_linear(node);
  require_broadcastable(node, node.operand("residual"), types[0].shape);
  activation_of(node);
  return types;
}

std::vector<Value*> expand_linear(ir::Builder& builder, const Node& node) {
  Value* y =
      builder("aten.linear", {node.operand("input"), node.operand("weight"), node.operand("bias")});
  y = activate(builder, node, y);
  if (Value* residual = node.operand("residual")) y = builder("aten.add.Tensor", {y, residual});
  return {y};
}

// x · weightᵀ + bias for each weight
std::vector<ValueType> infer_linears(const Node& node) {
  const Value* input = node.operand("input");
  const std::span<Value* const> pairs = node.list();
  require_floating(node, input);
  require_same_dtype(node, node.operands);
  if (pairs.empty() || pairs.size() % 2 != 0) {
    reject(node, "Give a bias or None after each weight.",
           "expected pairs of weights and biases, got {} operands", pairs.size());
  }
  std::vector<ValueType> types;
  for (size_t i = 0; i < pairs.size(); i += 2) {
    if (pairs[i] == nullptr) {
      reject(node, "Give a weight before each bias.", "expected weight {}, got None", i / 2);
    }
    types.push_back(product_type(node, input, pairs[i], pairs[i + 1]));
  }
  return types;
}

std::vector<Value*> linears(ir::Builder& builder, Value* input, std::span<Value* const> pairs) {
  std::vector<Value*> results;
  for (size_t i = 0; i < pairs.size(); i += 2) {
    results.push_back(builder("aten.linear", {input, pairs[i], pairs[i + 1]}));
  }
  return results;
}

std::vector<Value*> expand_linears(ir::Builder& builder, const Node& node) {
  return linears(builder, node.operand("input"), node.list());
}

// act(x · gate_weightᵀ + gate_bias) · (x · up_weightᵀ + up_bias)
std::vector<ValueType> infer_gated_linear(const Node& node) {
  const Value* input = node.operand("input");
  require_floating(node, input);
  require_same_dtype(node, node.operands);
  const ValueType gate =
      product_type(node, input, node.operand("gate_weight"), node.operand("gate_bias"));
  const ValueType up =
      product_type(node, input, node.operand("up_weight"), node.operand("up_bias"));
  require_equal(node, "the first dim of 'up_weight'", gate.shape.back(), up.shape.back());
  activation_of(node);
  return {gate};
}

Value* gated_linear(ir::Builder& builder, const Node& node, Value* input) {
  Value* gate =
      builder("aten.linear", {input, node.operand("gate_weight"), node.operand("gate_bias")});
  Value* up = builder("aten.linear", {input, node.operand("up_weight"), node.operand("up_bias")});
  return builder("aten.mul.Tensor", {activate(builder, node, gate), up});
}

std::vector<Value*> expand_gated_linear(ir::Builder& builder, const Node& node) {
  return {gated_linear(builder, node, node.operand("input"))};
}

// The products of rms_norm(input, norm_weight), which the checks of all operands' dtypes make one
// of the input's dtype.
void check_norm(const Node& node) {
  const Value *input = node.operand("input"), *weight = node.operand("norm_weight");
  if (weight == nullptr) return;
  require_rank(node, weight, 1);
  require_equal(node, "the length of 'norm_weight'", input->shape().back(), weight->shape()[0]);
}

Value* normed_input(ir::Builder& builder, const Node& node) {
  return rms_norm(builder, node.operand("input"), node.operand("norm_weight"), node.real("eps"));
}

std::vector<ValueType> infer_norm_linears(const Node& node) {
  std::vector<ValueType> types = infer_linears(node);
  check_norm(node);
  return types;
}

std::vector<Value*> expand_norm_linears(ir::Builder& builder, const Node& node) {
  return linears(builder, normed_input(builder, node), node.list());
}

std::vector<ValueType> infer_norm_gated_linear(const Node& node) {
  std::vector<ValueType> types = infer_gated_linear(node);
  check_norm(node);
  return types;
}

std::vector<Value*> expand_norm_gated_linear(ir::Builder& builder, const Node& node) {
  return {gated_linear(builder, node, normed_input(builder, node))};
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
  // A result for each weight; after each weight its bias, or None.
  table.add({.name = "linears",
             .operands = {{"input"}, {"weights_and_biases", optional_list}},
             .results = -1,
             .infer = infer_linears,
             .expand = expand_linears});
  table.add({.name = "gated_linear",
             .operands = {{"input"},
                          {"gate_weight"},
                          {"up_weight"},
                          {"gate_bias", optional},
                          {"up_bias", optional}},
             .attributes = {{"activation", string}},
             .infer = infer_gated_linear,
             .expand = expand_gated_linear});
  // The same two of the RMSNorm of their input.
  table.add(
      {.name = "norm_linears",
       .operands = {{"input"}, {"norm_weight", optional}, {"weights_and_biases", optional_list}},
       .attributes = {{"eps", real}},
       .results = -1,
       .infer = infer_norm_linears,
       .expand = expand_norm_linears});
  table.add({.name = "norm_gated_linear",
             .operands = {{"input"},
                          {"norm_weight", optional},
                          {"gate_weight"},
                          {"up_weight"},
                          {"gate_bias", optional},
                          {"up_bias", optional}},
             .attributes = {{"activation", string}, {"eps", real}},
             .infer = infer_norm_gated_linear,
             .expand = expand_norm_gated_linear});
}

}  // namespace ostinato::ops
