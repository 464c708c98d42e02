#include "ostinato/device/cpu/kernels/assembly.h"
#include "ostinato/device/cpu/kernels/kernels.h"
#include "ostinato/ops/ops.h"

namespace ostinato::cpu {

namespace {

// A view that is wanted elsewhere than in its operand's storage.
std::unique_ptr<Kernel> make_view(const device::Request& request) {
  const device::TensorDesc& self = *request.inputs[0];
  auto assembly = std::make_unique<Assembly>(request);
  for (size_t i = 0; i < request.outputs.size(); ++i) {
    const device::TensorDesc& output = request.outputs[i];
    const std::optional<ir::Layout> layout = request.node->op->view(*request.node, i, self.layout);
    if (layout) {
      const int64_t element = static_cast<int64_t>(size_of(self.dtype));
      const device::TensorDesc part{self.dtype, *layout};
      assembly->copy({0, layout->offset * element, byte_strides(part)},
                     {i, 0, byte_strides(output)}, output.sizes());
    } else {  // a reshape: the same elements in the same order
      const device::TensorDesc dense{output.dtype, ir::Layout::contiguous(self.sizes())};
      assembly->copy({0, 0, byte_strides(self)}, {i, 0, byte_strides(dense)}, self.sizes());
    }
  }
  return Assembly::finish(std::move(assembly));
}

// `clone`, `_to_copy` and their like: the operand, perhaps in another dtype.
std::unique_ptr<Kernel> make_copy(const device::Request& request) {
  const device::TensorDesc& output = request.outputs[0];
  auto assembly = std::make_unique<Assembly>(request);
  assembly->copy({0, 0, broadcast_strides(*request.inputs[0], output.sizes())},
                 {0, 0, byte_strides(output)}, output.sizes());
  return Assembly::finish(std::move(assembly));
}

// `copy(self, src)`: the second operand with the first's shape and dtype.
std::unique_ptr<Kernel> make_copy_source(const device::Request& request) {
  const device::TensorDesc& output = request.outputs[0];
  auto assembly = std::make_unique<Assembly>(request);
  assembly->copy({1, 0, broadcast_strides(*request.inputs[1], output.sizes())},
                 {0, 0, byte_strides(output)}, output.sizes());
  return Assembly::finish(std::move(assembly));
}

}  // namespace

void add_view(KernelTable& table) {
  for (const ir::OpRow* row : ops::table().rows()) {
    if (row->view != nullptr) table.add(row->name, device::Tier::fast, make_view);
  }
  for (const std::string_view name : {"aten.clone", "aten._to_copy", "aten.lift_fresh_copy"}) {
    table.add(name, device::Tier::fast, make_copy);
  }
  table.add("aten.copy", device::Tier::fast, make_copy_source);
}

}  // namespace ostinato::cpu
