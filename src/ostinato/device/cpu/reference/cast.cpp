#include "ostinato/device/cpu/reference/copy.h"

namespace ostinato::cpu::reference {

namespace {

void convert(const Call& call) { copy(call.outputs[0], call.inputs[0]); }

void copy_broadcast(const Call& call) {
  const View &y = call.outputs[0], &src = call.input("src");
  copy(Part(y), Part(src, 0, broadcast_strides(src, y.sizes())), y.sizes());
}

}  // namespace

void add_cast(KernelTable& table) {
  for (const std::string_view name : {"aten._to_copy", "aten.clone", "aten.lift_fresh_copy"}) {
    table.add(name, device::Tier::reference, make<convert>);
  }
  table.add("aten.copy", device::Tier::reference, make<copy_broadcast>);
}

}  // namespace ostinato::cpu::reference
