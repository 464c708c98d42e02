#include <algorithm>

#include "ostinato/device/cpu/kernels/assembly.h"
#include "ostinato/device/cpu/kernels/kernels.h"

namespace ostinato::cpu {

namespace {

using Place = Assembly::Place;
using Sizes = std::vector<int64_t>;

void erase_dim(Strides& strides, size_t dim) {
  strides.erase(strides.begin() + static_cast<std::ptrdiff_t>(dim));
}

std::unique_ptr<Kernel> make_cat(const device::Request& request) {
  const device::TensorDesc& y = request.outputs[0];
  const size_t dim = wrap_dim(request.node->integer("dim"), y.sizes().size());
  const Strides to = byte_strides(y);
  auto assembly = std::make_unique<Assembly>(request);
  int64_t start = 0;
  for (size_t i = 0; i < request.inputs.size(); ++i) {
    const device::TensorDesc& x = *request.inputs[i];
    if (x.numel() == 0) continue;
    assembly->copy({i, 0, byte_strides(x)}, {0, start * to[dim], to}, x.sizes());
    start += x.sizes()[dim];
  }
  return Assembly::finish(std::move(assembly));
}

std::unique_ptr<Kernel> make_stack(const device::Request& request) {
  const device::TensorDesc& y = request.outputs[0];
  const size_t dim = wrap_dim(request.node->integer("dim"), y.sizes().size());
  Strides to = byte_strides(y);
  const int64_t step = to[dim];
  erase_dim(to, dim);
  auto assembly = std::make_unique<Assembly>(request);
  for (size_t i = 0; i < request.inputs.size(); ++i) {
    const device::TensorDesc& x = *request.inputs[i];
    assembly->copy({i, 0, byte_strides(x)}, {0, static_cast<int64_t>(i) * step, to}, x.sizes());
  }
  return Assembly::finish(std::move(assembly));
}

// Each dim of the result is a dim of repetitions, along which the operand stands still, over the
// operand's own.
std::unique_ptr<Kernel> make_repeat(const device::Request& request) {
  const device::TensorDesc &x = *request.inputs[0], &y = request.outputs[0];
  const Sizes repeats = request.node->integers("repeats");
  const Strides from = broadcast_strides(x, y.sizes()), to = byte_strides(y);
  const size_t added = repeats.size() - x.sizes().size();
  Sizes sizes;
  Strides from_split, to_split;
  for (size_t d = 0; d < repeats.size(); ++d) {
    const int64_t size = d < added ? 1 : x.sizes()[d - added];
    sizes.insert(sizes.end(), {repeats[d], size});
    from_split.insert(from_split.end(), {0, from[d]});
    to_split.insert(to_split.end(), {size * to[d], to[d]});
  }
  auto assembly = std::make_unique<Assembly>(request);
  assembly->copy({0, 0, from_split}, {0, 0, to_split}, sizes);
  return Assembly::finish(std::move(assembly));
}

std::unique_ptr<Kernel> make_pad(const device::Request& request) {
  const device::TensorDesc &x = *request.inputs[0], &y = request.outputs[0];
  const Sizes pad = request.node->integers("pad");
  const Strides from = byte_strides(x), to = byte_strides(y);
  const uint64_t value = bits_of(request.node->attribute("value"), y.dtype);
  auto assembly = std::make_unique<Assembly>(request);
  Sizes sizes = y.sizes();  // what is not filled yet
  int64_t from_offset = 0, to_offset = 0;
  for (size_t i = pad.size() / 2; i-- > 0;) {
    const size_t dim = x.sizes().size() - 1 - i;
    const int64_t before = pad[2 * i], after = pad[2 * i + 1];
    const int64_t size = y.sizes()[dim];
    const auto fill = [&](int64_t first, int64_t count) {
      sizes[dim] = count;
      assembly->fill(value, {0, to_offset + first * to[dim], to}, sizes);
    };
    const int64_t leading = std::clamp<int64_t>(before, 0, size);
    const int64_t trailing = std::clamp<int64_t>(after, 0, size - leading);
    fill(0, leading);
    fill(size - trailing, trailing);
    sizes[dim] = size - leading - trailing;
    to_offset += leading * to[dim];
    from_offset += std::max<int64_t>(-before, 0) * from[dim];
  }
  assembly->copy({0, from_offset, from}, {0, to_offset, to}, sizes);
  return Assembly::finish(std::move(assembly));
}

std::unique_ptr<Kernel> make_flip(const device::Request& request) {
  const device::TensorDesc &x = *request.inputs[0], &y = request.outputs[0];
  Strides from = byte_strides(x);
  int64_t offset = 0;
  for (int64_t named : request.node->integers("dims")) {
    if (from.empty()) break;
    const size_t dim = wrap_dim(named, from.size());
    offset += (x.sizes()[dim] - 1) * from[dim];
    from[dim] = -from[dim];
  }
  auto assembly = std::make_unique<Assembly>(request);
  assembly->copy({0, offset, from}, {0, 0, byte_strides(y)}, y.sizes());
  return Assembly::finish(std::move(assembly));
}

// Splits every rolled dim in two: what stays in order, and what comes round.
struct Roll {
  Assembly& assembly;
  std::vector<std::pair<size_t, int64_t>> shifts;  // dim, in [0, size)
  Strides from, to;

  void add(size_t next, int64_t from_offset, int64_t to_offset, Sizes sizes) {
    if (next == shifts.size()) {
      assembly.copy({0, from_offset, from}, {0, to_offset, to}, sizes);
      return;
    }
    const auto [dim, shift] = shifts[next];
    const int64_t size = sizes[dim];
    sizes[dim] = size - shift;
    add(next + 1, from_offset, to_offset + shift * to[dim], sizes);
    sizes[dim] = shift;
    add(next + 1, from_offset + (size - shift) * from[dim], to_offset, sizes);
  }
};

std::unique_ptr<Kernel> make_roll(const device::Request& request) {
  const device::TensorDesc &x = *request.inputs[0], &y = request.outputs[0];
  const Sizes shifts = request.node->integers("shifts"), dims = request.node->integers("dims");
  auto assembly = std::make_unique<Assembly>(request);
  Roll roll{*assembly, {}, byte_strides(x), byte_strides(y)};
  Sizes sizes = x.sizes();
  const auto shift_by = [&](size_t dim, int64_t shift) {
    if (sizes[dim] == 0) return;
    const auto known = std::find_if(roll.shifts.begin(), roll.shifts.end(),
                                    [dim](const auto& entry) { return entry.first == dim; });
    const int64_t before = known == roll.shifts.end() ? 0 : known->second;  // a dim named twice
    const int64_t all = ((before + shift % sizes[dim]) % sizes[dim] + sizes[dim]) % sizes[dim];
    if (known == roll.shifts.end()) {
      roll.shifts.emplace_back(dim, all);
    } else {
      known->second = all;
    }
  };
  if (dims.empty()) {  // as one long dim
    if (!x.layout.is_contiguous()) return nullptr;
    sizes = {x.numel()};
    roll.from = roll.to = {static_cast<int64_t>(size_of(x.dtype))};
    shift_by(0, shifts[0]);
  }
  for (size_t i = 0; i < dims.size() && !sizes.empty(); ++i) {
    shift_by(wrap_dim(dims[i], sizes.size()), shifts[i]);
  }
  roll.add(0, 0, 0, sizes);
  return Assembly::finish(std::move(assembly));
}

}  // namespace

void add_concat(KernelTable& table) {
  table.add("aten.cat", device::Tier::fast, make_cat);
  table.add("aten.stack", device::Tier::fast, make_stack);
  table.add("aten.repeat", device::Tier::fast, make_repeat);
  table.add("aten.constant_pad_nd", device::Tier::fast, make_pad);
  table.add("aten.flip", device::Tier::fast, make_flip);
  table.add("aten.roll", device::Tier::fast, make_roll);
}

}  // namespace ostinato::cpu
