#include "ostinato/ir/builder.h"
#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

namespace {

std::vector<ir::ValueType> infer_gated(const ir::Node& node) {
  for (const ir::Value* operand : node.operands) require_floating(node, operand);
  return {{promote(node.operands), broadcast(node, node.operands)}};
}

std::vector<ir::Value*> expand_swiglu(ir::Builder& builder, const ir::Node& node) {
  ir::Value* activated = builder("aten.silu", {node.operand("gate")});
  return {builder("aten.mul.Tensor", {activated, node.operand("up")})};
}

std::vector<ir::ValueType> infer_geglu(const ir::Node& node) {
  const std::string& approximate = node.string("approximate");
  if (approximate != "none" && approximate != "tanh") {
    reject(node, "Those are the two forms of GELU.", "expected none or tanh, got '{}'",
           approximate);
  }
  return infer_gated(node);
}

std::vector<ir::Value*> expand_geglu(ir::Builder& builder, const ir::Node& node) {
  ir::Value* activated =
      builder("aten.gelu", {node.operand("gate")}, {{"approximate", node.string("approximate")}});
  return {builder("aten.mul.Tensor", {activated, node.operand("up")})};
}

}  // namespace

void add_swiglu(ir::OpTable& table) {
  table.add({.name = "swiglu",
             .operands = {{"gate"}, {"up"}},
             .infer = infer_gated,
             .traits = {.elementwise = true},
             .expand = expand_swiglu});
  table.add({.name = "geglu",
             .operands = {{"gate"}, {"up"}},
             .attributes = {{"approximate", ir::AttrKind::string, std::string("none")}},
             .infer = infer_geglu,
             .traits = {.elementwise = true},
             .expand = expand_geglu});
}

}  // namespace ostinato::ops
