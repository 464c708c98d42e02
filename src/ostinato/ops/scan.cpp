#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

namespace {

// Running sums and products of integers and bools are int64.
std::vector<ir::ValueType> infer_scan(const ir::Node& node) {
  const ir::Value* self = node.operands[0];
  wrap_dim(node, node.integer("dim"), self->rank());
  const DType natural = is_floating(self->dtype()) ? self->dtype() : DType::int64;
  const DType dtype = node.has("dtype") ? node.dtype("dtype") : natural;
  if (dtype == DType::boolean) {
    reject(node, "Give dtype=int64, or none.", "expected a dtype of numbers, got bool");
  }
  return {{dtype, self->shape()}};
}

}  // namespace

void add_scan(ir::OpTable& table) {
  using enum ir::AttrKind;
  for (const std::string_view name : {"aten.cumsum", "aten.cumprod"}) {
    table.add({.name = name,
               .operands = {{"self"}},
               .attributes = {{"dim", integer}, {"dtype", dtype, ir::Attribute{}}},
               .infer = infer_scan});
  }
}

}  // namespace ostinato::ops
