#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

namespace {

std::vector<ir::ValueType> infer_binary(const ir::Node& node) {
  return {{promote(node.operands), broadcast(node, node.operands)}};
}

}  // namespace

void add_binary(ir::OpTable& table) {
  using enum ir::AttrKind;
  const ir::OpTraits elementwise{.elementwise = true};
  // self + alpha * other, self - alpha * other
  for (const std::string_view name : {"aten.add.Tensor", "aten.sub.Tensor"}) {
    table.add({.name = name,
               .operands = {{"self"}, {"other"}},
               .attributes = {{"alpha", scalar, ir::Dim(1)}},
               .infer = infer_binary,
               .traits = elementwise});
  }
  for (const std::string_view name : {"aten.mul.Tensor", "aten.minimum", "aten.maximum"}) {
    table.add({.name = name,
               .operands = {{"self"}, {"other"}},
               .infer = infer_binary,
               .traits = elementwise});
  }
}

}  // namespace ostinato::ops
