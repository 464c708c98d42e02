#include "ostinato/ops/rms_norm.h"

#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

namespace {

using ir::Node;
using ir::Value;
using ir::ValueType;

// The type of the normalised x, whatever dtype x has come to.
ValueType normalised_type(const Node& node) {
  const Value *x = node.operands[0], *weight = node.operand("weight");
  require_floating(node, x);
  if (x->rank() == 0) reject(node, "Use aten.unsqueeze.", "expected at least 1 dim, got ()");
  if (weight != nullptr) {
    require_rank(node, weight, 1);
    require_equal(node, "the length of 'weight'", x->shape().back(), weight->shape()[0]);
  }
  return {promote(node.operands), x->shape()};
}

std::vector<ValueType> infer_rms_norm(const Node& node) { return {normalised_type(node)}; }

std::vector<ValueType> infer_add_rms_norm(const Node& node) {
  const Value *self = node.operand("self"), *residual = node.operand("residual");
  require_rank(node, residual, self->rank());
  for (size_t i = 0; i < self->rank(); ++i) {
    require_equal(node, fmt::format("dim {} of 'residual'", i), self->shape()[i],
                  residual->shape()[i]);
  }
  return {normalised_type(node), {promote({node.operands.data(), 2}), self->shape()}};
}

std::vector<Value*> expand_rms_norm(ir::Builder& builder, const Node& node) {
  return {rms_norm(builder, node.operand("self"), node.operand("weight"), node.real("eps"))};
}

std::vector<Value*> expand_add_rms_norm(ir::Builder& builder, const Node& node) {
  Value* sum = builder("aten.add.Tensor", {node.operand("self"), node.operand("residual")});
  return {rms_norm(builder, sum, node.operand("weight"), node.real("eps")), sum};
}

}  // namespace

Value* rms_norm(ir::Builder& builder, Value* x, Value* weight, double eps) {
  Value* wide = x;
  if (x->dtype() != DType::float32) {
    wide = builder("aten._to_copy", {x}, {{"dtype", DType::float32}});
  }
  Value* squares = builder("aten.pow.Tensor_Scalar", {wide}, {{"exponent", 2}});
  Value* mean = builder("aten.mean.dim", {squares}, {{"dim", ir::Shape{-1}}, {"keepdim", true}});
  Value* shifted = builder("aten.add.Scalar", {mean}, {{"other", eps}});
  Value* y = builder("aten.mul.Tensor", {wide, builder("aten.rsqrt", {shifted})});
  if (x->dtype() != DType::float32) {
    y = builder("aten._to_copy", {y}, {{"dtype", x->dtype()}});
  }
  return weight == nullptr ? y : builder("aten.mul.Tensor", {y, weight});
}

void add_rms_norm(ir::OpTable& table) {
  using enum ir::OperandKind;
  const ir::AttrSpec eps{"eps", ir::AttrKind::real};
  table.add({.name = "rms_norm",
             .operands = {{"self"}, {"weight", optional}},
             .attributes = {eps},
             .infer = infer_rms_norm,
             .expand = expand_rms_norm});
  table.add({.name = "add_rms_norm",
             .operands = {{"self"}, {"residual"}, {"weight", optional}},
             .attributes = {eps},
             .results = 2,
             .infer = infer_add_rms_norm,
             .expand = expand_add_rms_norm});
}

}  // namespace ostinato::ops
