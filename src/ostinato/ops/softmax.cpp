#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

namespace {

std::vector<ir::ValueType> infer_softmax(const ir::Node& node) {
  const ir::Value* self = node.operands[0];
  require_floating(node, self);
  wrap_dim(node, node.integer("dim"), self->rank());
  const DType dtype = node.flag("half_to_float") ? DType::float32 : self->dtype();
  return {{dtype, self->shape()}};
}

}  // namespace

void add_softmax(ir::OpTable& table) {
  using enum ir::AttrKind;
  for (const std::string_view name : {"aten._softmax", "aten._log_softmax"}) {
    table.add({.name = name,
               .operands = {{"self"}},
               .attributes = {{"dim", integer}, {"half_to_float", boolean, false}},
               .infer = infer_softmax});
  }
}

}  // namespace ostinato::ops
