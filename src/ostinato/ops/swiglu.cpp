#include "ostinato/ir/builder.h"
#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

namespace {

std::vector<ir::ValueType> infer_swiglu(const ir::Node& node) {
  for (const ir::Value* operand : node.operands) require_floating(node, operand);
  return {{promote(node.operands), broadcast(node, node.operands)}};
}

std::vector<ir::Value*> expand_swiglu(ir::Builder& builder, const ir::Node& node) {
  ir::Value* activated = builder("aten.silu", {node.operand("gate")});
  return {builder("aten.mul.Tensor", {activated, node.operand("up")})};
}

}  // namespace

void add_swiglu(ir::OpTable& table) {
  table.add({.name = "swiglu",
             .operands = {{"gate"}, {"up"}},
             .infer = infer_swiglu,
             .traits = {.elementwise = true},
             .expand = expand_swiglu});
}

}  // namespace ostinato::ops
