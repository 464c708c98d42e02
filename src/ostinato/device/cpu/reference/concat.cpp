#include "ostinato/device/cpu/reference/copy.h"

namespace ostinato::cpu::reference {

namespace {

void cat(const Call& call) {
  const View& y = call.outputs[0];
  const size_t dim = front_dim(call.node.integer("dim"), y.rank());
  int64_t start = 0;
  for (const View& x : call.inputs) {
    if (x.numel() == 0) continue;
    copy(Part(y, start * y.strides()[dim], y.strides()), Part(x), x.sizes());
    start += x.size(dim);
  }
}

void stack(const Call& call) {
  const View& y = call.outputs[0];
  const size_t dim = front_dim(call.node.integer("dim"), y.rank());
  std::vector<int64_t> strides = y.strides();
  strides.erase(strides.begin() + static_cast<ptrdiff_t>(dim));
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    const View& x = call.inputs[i];
    copy(Part(y, static_cast<int64_t>(i) * y.strides()[dim], strides), Part(x), x.sizes());
  }
}

// Each dim of the result is a dim of repetitions, along which the operand stands still, over the
// operand's own.
void repeat(const Call& call) {
  const View &x = call.inputs[0], &y = call.outputs[0];
  const std::vector<int64_t> repeats = call.node.integers("repeats");
  const size_t added = repeats.size() - x.rank();
  std::vector<int64_t> sizes, from, to;
  for (size_t i = 0; i < repeats.size(); ++i) {
    const int64_t size = i < added ? 1 : x.size(i - added);
    sizes.insert(sizes.end(), {repeats[i], size});
    from.insert(from.end(), {0, i < added ? 0 : x.strides()[i - added]});
    to.insert(to.end(), {size * y.strides()[i], y.strides()[i]});
  }
  copy(Part(y, 0, to), Part(x, 0, from), sizes);
}

void constant_pad(const Call& call) {
  const View &x = call.inputs[0], &y = call.outputs[0];
  fill(Part(y), call.node.attribute("value"), y.sizes());
  const std::vector<int64_t> pad = call.node.integers("pad");
  std::vector<int64_t> sizes = x.sizes();
  int64_t from = 0, to = 0;
  for (size_t i = 0; i < pad.size() / 2; ++i) {
    const size_t dim = x.rank() - 1 - i;
    const int64_t before = pad[2 * i], after = pad[2 * i + 1];
    to += std::max<int64_t>(before, 0) * y.strides()[dim];
    from += std::max<int64_t>(-before, 0) * x.strides()[dim];
    sizes[dim] += std::min<int64_t>(before, 0) + std::min<int64_t>(after, 0);
    if (sizes[dim] <= 0) return;  // all of it is cropped
  }
  copy(Part(y, to, y.strides()), Part(x, from, x.strides()), sizes);
}

void flip(const Call& call) {
  const View &x = call.inputs[0], &y = call.outputs[0];
  Part from(x);
  for (int64_t dim : call.node.integers("dims")) {
    if (x.rank() == 0) break;
    const size_t i = front_dim(dim, x.rank());
    from.offset += (x.size(i) - 1) * x.strides()[i];
    from.strides[i] = -x.strides()[i];
  }
  copy(Part(y), from, y.sizes());
}

void roll(const Call& call) {
  const View &x = call.inputs[0], &y = call.outputs[0];
  const std::vector<int64_t> shifts = call.node.integers("shifts");
  const std::vector<int64_t> dims = call.node.integers("dims");
  const auto shifted = [](int64_t position, int64_t shift, int64_t size) {
    return ((position + shift % size) % size + size) % size;
  };
  std::vector<int64_t> target;
  for_each_index(x.sizes(), [&](std::span<const int64_t> index, int64_t position) {
    int64_t to = 0;
    if (dims.empty()) {
      to = y.offset_of(shifted(position, shifts[0], x.numel()));
    } else {
      target.assign(index.begin(), index.end());
      for (size_t i = 0; i < dims.size() && !target.empty(); ++i) {
        const size_t dim = front_dim(dims[i], x.rank());
        target[dim] = shifted(target[dim], shifts[i], x.size(dim));
      }
      to = y.offset(target);
    }
    copy(Part(y, to, {}), Part(x, x.offset(index), {}), {});
  });
}

// Keeps what lies on or below (above) the diagonal; the rest is zero.
template <bool lower>
void triangle(const Call& call) {
  const View &x = call.inputs[0], &y = call.outputs[0];
  const int64_t diagonal = call.node.integer("diagonal");
  for_each_index(x.sizes(), [&](std::span<const int64_t> index, int64_t) {
    const int64_t above = index[index.size() - 1] - index[index.size() - 2];
    const int64_t to = y.offset(index);
    if (lower ? above <= diagonal : above >= diagonal) {
      copy(Part(y, to, {}), Part(x, x.offset(index), {}), {});
    } else {
      y.set_integer(to, 0);
    }
  });
}

}  // namespace

void add_concat(KernelTable& table) {
  table.add("aten.cat", device::Tier::reference, make<cat>);
  table.add("aten.stack", device::Tier::reference, make<stack>);
  table.add("aten.repeat", device::Tier::reference, make<repeat>);
  table.add("aten.constant_pad_nd", device::Tier::reference, make<constant_pad>);
  table.add("aten.flip", device::Tier::reference, make<flip>);
  table.add("aten.roll", device::Tier::reference, make<roll>);
  table.add("aten.tril", device::Tier::reference, make<triangle<true>>);
  table.add("aten.triu", device::Tier::reference, make<triangle<false>>);
}

}  // namespace ostinato::cpu::reference
