#include "ostinato/device/cpu/reference/copy.h"

namespace ostinato::cpu::reference {

namespace {

// A view made as a copy, for when strides cannot express it.
void view(const Call& call) {
  const View& x = call.inputs[0];
  const device::TensorDesc dense{x.dtype(), ir::Layout::contiguous(x.sizes())};
  std::vector<std::byte> memory(dense.bytes());
  const View copied(memory.data(), dense);
  copy(copied, x);
  for (size_t i = 0; i < call.outputs.size(); ++i) {
    const View& y = call.outputs[i];
    const ir::Layout layout = call.node.op->view(call.node, i, dense.layout).value();
    copy(Part(y), Part(copied, layout.offset, layout.strides), y.sizes());
  }
}

}  // namespace

void add_view(KernelTable& table) {
  for (const std::string_view name :
       {"aten.view",        "aten._unsafe_view",     "aten.reshape",
        "aten.permute",     "aten.transpose.int",    "aten.t",
        "aten.expand",      "aten.unsqueeze",        "aten.squeeze",
        "aten.squeeze.dim", "aten.squeeze.dims",     "aten.alias",
        "aten.detach",      "aten.diagonal",         "aten.unfold",
        "aten.as_strided",  "aten.slice.Tensor",     "aten.select.int",
        "aten.unbind.int",  "aten.split_with_sizes", "aten.split.Tensor"}) {
    table.add(name, device::Tier::reference, make<view>);
  }
}

}  // namespace ostinato::cpu::reference
