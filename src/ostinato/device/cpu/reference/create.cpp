#include "ostinato/device/cpu/reference/elementwise.h"

namespace ostinato::cpu::reference {

namespace {

void fill(const Call& call, const ir::Attribute& value) {
  const View& y = call.outputs[0];
  const Source constant(value, y.dtype());
  if (is_floating(y.dtype()) || y.dtype() == DType::boolean) {
    map<float>(
        y, [](float x) { return x; }, constant);
  } else {
    map<int64_t>(
        y, [](int64_t x) { return x; }, constant);
  }
}

template <int64_t value>
void fill_constant(const Call& call) {
  fill(call, ir::Dim(value));
}

void full(const Call& call) { fill(call, call.node.attribute("fill_value")); }
void scalar_tensor(const Call& call) { fill(call, call.node.attribute("s")); }

void arange(const Call& call) {
  const View& y = call.outputs[0];
  ir::Attribute start = ir::Dim(0), step = ir::Dim(1);
  for (size_t i = 0; i < call.node.attributes.size(); ++i) {
    if (call.node.op->attributes[i].name == "start") start = call.node.attributes[i];
    if (call.node.op->attributes[i].name == "step") step = call.node.attributes[i];
  }
  for (int64_t i = 0; i < y.numel(); ++i) {
    const int64_t at = i * y.strides()[0];
    if (is_floating(y.dtype())) {
      const double first = ir::number_of<double>(start), by = ir::number_of<double>(step);
      y.set(at, static_cast<float>(first + by * static_cast<double>(i)));
    } else {
      const auto first = static_cast<uint64_t>(ir::number_of<int64_t>(start));
      const auto by = static_cast<uint64_t>(ir::number_of<int64_t>(step));
      y.set_integer(at, static_cast<int64_t>(first + static_cast<uint64_t>(i) * by));  // wraps
    }
  }
}

}  // namespace

void add_create(KernelTable& table) {
  const auto add = [&table](std::string_view name, Factory make) {
    table.add(name, device::Tier::reference, make);
  };
  for (const std::string_view name : {"aten.zeros", "aten.zeros_like", "aten.empty.memory_format",
                                      "aten.empty_like", "aten.empty_permuted"}) {
    add(name, make<fill_constant<0>>);
  }
  for (const std::string_view name : {"aten.ones", "aten.ones_like"}) {
    add(name, make<fill_constant<1>>);
  }
  for (const std::string_view name : {"aten.full", "aten.full_like"}) add(name, make<full>);
  for (const std::string_view name :
       {"aten.arange", "aten.arange.start", "aten.arange.start_step"}) {
    add(name, make<arange>);
  }
  add("aten.scalar_tensor", make<scalar_tensor>);
}

}  // namespace ostinato::cpu::reference
