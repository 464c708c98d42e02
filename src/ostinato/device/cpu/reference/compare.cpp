#include <functional>

#include "ostinato/device/cpu/reference/elementwise.h"
#include "ostinato/ops/infer.h"

namespace ostinato::cpu::reference {

namespace {

template <typename Op>
void compare(const Call& call) {
  const auto& attributes = call.node.attributes;
  const DType dtype =
      ops::promote(call.node.operands, attributes.empty() ? ir::Attribute{} : attributes.front());
  const Source a = source(call, "self", dtype, Scalars::round);
  const Source b = source(call, "other", dtype, Scalars::round);
  is_floating(dtype) ? map<float>(call.outputs[0], Op(), a, b)
                     : map<int64_t>(call.outputs[0], Op(), a, b);
}

void where(const Call& call) {
  const View& y = call.outputs[0];
  const Source condition(call.input("condition"), DType::boolean);
  const Source a = source(call, "self", y.dtype(), Scalars::round);
  const Source b = source(call, "other", y.dtype(), Scalars::round);
  const auto choose = [](auto yes, auto then, auto otherwise) {
    return yes != 0 ? then : otherwise;
  };
  is_floating(y.dtype()) ? map<float>(y, choose, condition, a, b)
                         : map<int64_t>(y, choose, condition, a, b);
}

}  // namespace

void add_compare(KernelTable& table) {
  const auto add = [&table](std::string_view tensor, std::string_view scalar, Factory make) {
    table.add(tensor, device::Tier::reference, make);
    table.add(scalar, device::Tier::reference, make);
  };
  add("aten.eq.Tensor", "aten.eq.Scalar", make<compare<std::equal_to<>>>);
  add("aten.ne.Tensor", "aten.ne.Scalar", make<compare<std::not_equal_to<>>>);
  add("aten.lt.Tensor", "aten.lt.Scalar", make<compare<std::less<>>>);
  add("aten.le.Tensor", "aten.le.Scalar", make<compare<std::less_equal<>>>);
  add("aten.gt.Tensor", "aten.gt.Scalar", make<compare<std::greater<>>>);
  add("aten.ge.Tensor", "aten.ge.Scalar", make<compare<std::greater_equal<>>>);
  table.add("aten.where.self", device::Tier::reference, make<where>);
}

}  // namespace ostinato::cpu::reference
