#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

namespace {

std::vector<ir::ValueType> infer_compare(const ir::Node& node) {
  return {{DType::boolean, broadcast(node, node.operands)}};
}

std::vector<ir::ValueType> infer_where(const ir::Node& node) {
  const DType condition = node.operand("condition")->dtype();
  if (condition != DType::boolean && condition != DType::uint8) {
    reject(node, "Compare it with aten.ne.Scalar.", "expected a bool condition, got {}",
           name_of(condition));
  }
  const std::span<ir::Value* const> operands(node.operands);
  return {{promote(operands.subspan(1)), broadcast(node, operands)}};
}

}  // namespace

void add_compare(ir::OpTable& table) {
  const ir::OpTraits elementwise{.elementwise = true};
  for (const std::string_view name : {"aten.eq.Tensor", "aten.ne.Tensor", "aten.lt.Tensor",
                                      "aten.le.Tensor", "aten.gt.Tensor", "aten.ge.Tensor"}) {
    table.add({.name = name,
               .operands = {{"self"}, {"other"}},
               .infer = infer_compare,
               .traits = elementwise});
  }
  for (const std::string_view name : {"aten.eq.Scalar", "aten.ne.Scalar", "aten.lt.Scalar",
                                      "aten.le.Scalar", "aten.gt.Scalar", "aten.ge.Scalar"}) {
    table.add({.name = name,
               .operands = {{"self"}},
               .attributes = {{"other", ir::AttrKind::scalar}},
               .infer = infer_compare,
               .traits = elementwise});
  }
  table.add({.name = "aten.where.self",
             .operands = {{"condition"}, {"self"}, {"other"}},
             .infer = infer_where,
             .traits = elementwise});
}

}  // namespace ostinato::ops
