#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

namespace {

std::vector<ir::ValueType> infer_to_copy(const ir::Node& node) {
  const ir::Value* self = node.operands[0];
  return {{node.has("dtype") ? node.dtype("dtype") : self->dtype(), self->shape()}};
}

// `src` broadcast to self's shape, in self's dtype; self's elements do not matter.
std::vector<ir::ValueType> infer_copy(const ir::Node& node) {
  if (broadcast(node, node.operands) != node.operands[0]->shape()) {
    reject(node, "Sizes must be equal or one.", "cannot broadcast {} to {}",
           to_string(node.operands[1]->shape()), to_string(node.operands[0]->shape()));
  }
  return infer_same(node);
}

}  // namespace

void add_cast(ir::OpTable& table) {
  const ir::OpTraits elementwise{.elementwise = true};
  table.add({.name = "aten._to_copy",
             .operands = {{"self"}},
             .attributes = {{"dtype", ir::AttrKind::dtype, ir::Attribute{}}},
             .infer = infer_to_copy,
             .traits = elementwise});
  for (const std::string_view name : {"aten.clone", "aten.lift_fresh_copy"}) {
    table.add({.name = name, .operands = {{"self"}}, .infer = infer_same, .traits = elementwise});
  }
  table.add({.name = "aten.copy",
             .operands = {{"self"}, {"src"}},
             .infer = infer_copy,
             .traits = elementwise});
}

}  // namespace ostinato::ops
