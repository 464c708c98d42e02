#include "ostinato/ir/builder.h"
#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

namespace {

using ir::Node;
using ir::Value;

std::vector<ir::ValueType> infer_layer_norm(const Node& node) {
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
  return {self->type};
}

std::vector<Value*> expand_layer_norm(ir::Builder& builder, const Node& node) {
  Value* self = node.operand("self");
  return {
      builder("aten.native_layer_norm", {self, node.operand("weight"), node.operand("bias")},
              {{"normalized_shape", ir::Shape{self->shape().back()}}, {"eps", node.real("eps")}})};
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
}

}  // namespace ostinato::ops
