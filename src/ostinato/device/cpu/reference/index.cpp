#include "ostinato/ops/index.h"

#include <map>

#include "ostinato/device/cpu/reference/copy.h"
#include "ostinato/ops/slice.h"

namespace ostinato::cpu::reference {

namespace {

void report(const Call& call) { call.fault->store(&call.node, std::memory_order_relaxed); }

bool is_within(int64_t position, int64_t size) { return position >= 0 && position < size; }

// Calls `f(from, to)` for each position of the index tensors of `aten.index.Tensor`: where the
// slice of self that they name begins, and where that slice's place in the result is.
template <typename F>
void for_each_indexed(const Call& call, const View& self, const std::vector<int64_t>& strides,
                      const ops::Indexing& indexing, F&& f) {
  const std::vector<int64_t> sizes = ir::to_integers(indexing.index_shape);
  std::vector<std::vector<int64_t>> index_strides;
  for (size_t dim : indexing.dims) {
    index_strides.push_back(broadcast_strides(call.inputs[1 + dim], sizes));
  }
  for_each_index(sizes, [&](std::span<const int64_t> index, int64_t) {
    int64_t from = 0, to = 0;
    for (size_t k = 0; k < indexing.dims.size(); ++k) {
      const size_t dim = indexing.dims[k];
      const View& tensor = call.inputs[1 + dim];
      int64_t at = 0;
      for (size_t d = 0; d < index.size(); ++d) at += index[d] * index_strides[k][d];
      int64_t position = tensor.get_integer(at);
      if (!wrap(position, self.size(dim))) return report(call);
      from += position * self.strides()[dim];
    }
    for (size_t d = 0; d < index.size(); ++d) to += index[d] * strides[indexing.position + d];
    f(from, to);
  });
}

// The dims that no index tensor names: their sizes, strides in self, strides in the result.
struct Slab {
  std::vector<int64_t> sizes, in_self, in_result;
};

Slab slab_of(const View& self, const std::vector<int64_t>& strides, const ops::Indexing& indexing) {
  Slab slab;
  size_t next = 0;
  for (size_t d = 0; d < self.rank(); ++d) {
    if (next < indexing.dims.size() && indexing.dims[next] == d) {
      ++next;
      continue;
    }
    const size_t i = slab.sizes.size();
    slab.sizes.push_back(self.size(d));
    slab.in_self.push_back(self.strides()[d]);
    slab.in_result.push_back(strides[i < indexing.position ? i : i + indexing.index_shape.size()]);
  }
  return slab;
}

void index(const Call& call) {
  const View &self = call.inputs[0], &y = call.outputs[0];
  const ops::Indexing indexing = ops::indexing_of(call.node);
  const Slab slab = slab_of(self, y.strides(), indexing);
  for_each_indexed(call, self, y.strides(), indexing, [&](int64_t from, int64_t to) {
    copy(Part(y, to, slab.in_result), Part(self, from, slab.in_self), slab.sizes);
  });
}

void add(const View& to, int64_t to_offset, const View& from, int64_t from_offset) {
  if (is_floating(to.dtype())) {
    to.set(to_offset, to.get(to_offset) + from.get(from_offset));
  } else if (to.dtype() == DType::boolean) {
    to.set_integer(to_offset, to.get_integer(to_offset) | from.get_integer(from_offset));
  } else {
    const auto sum = static_cast<uint64_t>(to.get_integer(to_offset)) +
                     static_cast<uint64_t>(from.get_integer(from_offset));
    to.set_integer(to_offset, static_cast<int64_t>(sum));  // wraps
  }
}

void index_put(const Call& call) {
  const View &self = call.inputs[0], &y = call.outputs[0], &values = call.inputs.back();
  copy(y, self);
  const ops::Indexing indexing = ops::indexing_of(call.node);
  const auto strides = broadcast_strides(values, ir::to_integers(indexing.shape));
  const bool accumulate = call.node.flag("accumulate");
  const Slab slab = slab_of(y, strides, indexing);
  for_each_indexed(call, y, strides, indexing, [&](int64_t at, int64_t value) {
    if (!accumulate) {
      copy(Part(y, at, slab.in_self), Part(values, value, slab.in_result), slab.sizes);
      return;
    }
    for_each_index(slab.sizes, [&](std::span<const int64_t> index, int64_t) {
      int64_t to = at, from = value;
      for (size_t d = 0; d < index.size(); ++d) {
        to += index[d] * slab.in_self[d];
        from += index[d] * slab.in_result[d];
      }
      add(y, to, values, from);
    });
  });
}

// Calls `f(offset, index)` with the offset in a tensor of the element that each element of the
// operand `index` names along `dim`. As in PyTorch, negative indices are out of range here.
template <typename F>
void for_each_named(const Call& call, const View& tensor, F&& f) {
  const View& names = call.inputs[1];
  const size_t dim = front_dim(call.node.integer("dim"), tensor.rank());
  for_each_index(names.sizes(), [&](std::span<const int64_t> index, int64_t) {
    const int64_t position = names.get_integer(names.offset(index));
    if (!is_within(position, tensor.rank() > 0 ? tensor.size(dim) : 1)) return report(call);
    int64_t offset = 0;
    for (size_t d = 0; d < tensor.rank(); ++d) {
      const int64_t at = d == dim ? position : d < index.size() ? index[d] : 0;
      offset += at * tensor.strides()[d];
    }
    f(offset, index);
  });
}

// The offset of an index in a tensor that has as many dims, or none.
int64_t offset_in(const View& view, std::span<const int64_t> index) {
  return view.rank() == 0 ? 0 : view.offset(index);
}

void gather(const Call& call) {
  const View &self = call.inputs[0], &y = call.outputs[0];
  for_each_named(call, self, [&](int64_t from, std::span<const int64_t> index) {
    copy(Part(y, y.offset(index), {}), Part(self, from, {}), {});
  });
}

void scatter_value(const Call& call) {
  const View& y = call.outputs[0];
  copy(y, call.inputs[0]);
  for_each_named(call, y, [&](int64_t to, std::span<const int64_t>) {
    fill(Part(y, to, {}), call.node.attribute("value"), {});
  });
}

void scatter_src(const Call& call) {
  const View &src = call.inputs[2], &y = call.outputs[0];
  copy(y, call.inputs[0]);
  for_each_named(call, y, [&](int64_t to, std::span<const int64_t> index) {
    copy(Part(y, to, {}), Part(src, offset_in(src, index), {}), {});
  });
}

void scatter_add(const Call& call) {
  const View &src = call.inputs[2], &y = call.outputs[0];
  copy(y, call.inputs[0]);
  for_each_named(call, y, [&](int64_t to, std::span<const int64_t> index) {
    add(y, to, src, offset_in(src, index));
  });
}

template <typename T>
T combine(std::string_view reduce, T a, T b) {
  if (reduce == "prod") return a * b;
  if (reduce == "amax") return a != a || a > b ? a : b;  // a NaN stays
  if (reduce == "amin") return a != a || a < b ? a : b;
  return a + b;  // sum and mean
}

// Elements of self that nothing is scattered to stay; others count only with `include_self`.
template <typename T>
void scatter_reduce_in(const Call& call) {
  constexpr bool kReal = std::is_same_v<T, double>;
  const View &src = call.inputs[2], &y = call.outputs[0];
  const std::string& reduce = call.node.string("reduce");
  const bool include_self = call.node.flag("include_self");
  const auto get = [](const View& view, int64_t at) -> T {
    return kReal ? static_cast<T>(view.get(at)) : static_cast<T>(view.get_integer(at));
  };
  copy(y, call.inputs[0]);
  std::map<int64_t, std::pair<T, int64_t>> reduced;  // by offset: the value, of how many
  for_each_named(call, y, [&](int64_t to, std::span<const int64_t> index) {
    const T value = get(src, offset_in(src, index));
    const auto [found, first] = reduced.try_emplace(to, value, 1);
    if (first && !include_self) return;
    const T before = first ? get(y, to) : found->second.first;
    found->second = {combine(reduce, before, value), found->second.second + 1};
  });
  for (auto& [to, result] : reduced) {
    auto& [value, count] = result;
    if constexpr (kReal) {
      y.set(to, static_cast<float>(reduce == "mean" ? value / static_cast<T>(count) : value));
    } else {
      const int64_t down = value % count < 0 ? 1 : 0;
      y.set_integer(to, reduce == "mean" ? value / count - down : value);
    }
  }
}

void scatter_reduce(const Call& call) {
  is_floating(call.outputs[0].dtype()) ? scatter_reduce_in<double>(call)
                                       : scatter_reduce_in<int64_t>(call);
}

void index_select(const Call& call) {
  const View &self = call.inputs[0], &names = call.inputs[1], &y = call.outputs[0];
  const size_t dim = front_dim(call.node.integer("dim"), self.rank());
  std::vector<int64_t> sizes = self.sizes();
  if (!sizes.empty()) sizes[dim] = 1;
  for (int64_t i = 0; i < names.numel(); ++i) {
    const int64_t position = names.get_integer(names.offset_of(i));
    if (!is_within(position, self.rank() > 0 ? self.size(dim) : 1)) return report(call);
    const int64_t from = self.rank() > 0 ? position * self.strides()[dim] : 0;
    const int64_t to = y.rank() > 0 ? i * y.strides()[dim] : 0;
    copy(Part(y, to, y.strides()), Part(self, from, self.strides()), sizes);
  }
}

void embedding(const Call& call) {
  const View &weight = call.inputs[0], &indices = call.inputs[1], &y = call.outputs[0];
  const std::vector<int64_t> row{weight.size(1)};
  for_each_index(indices.sizes(), [&](std::span<const int64_t> index, int64_t) {
    const int64_t position = indices.get_integer(indices.offset(index));
    if (!is_within(position, weight.size(0))) return report(call);
    copy(Part(y, y.offset(index), {y.strides().back()}),
         Part(weight, position * weight.strides()[0], {weight.strides()[1]}), row);
  });
}

// Calls `f(offset in the result, index)` wherever the mask is set, after copying self.
template <typename F>
void where_masked(const Call& call, F&& f) {
  const View &self = call.inputs[0], &mask = call.inputs[1], &y = call.outputs[0];
  copy(Part(y), Part(self, 0, broadcast_strides(self, y.sizes())), y.sizes());
  const std::vector<int64_t> strides = broadcast_strides(mask, y.sizes());
  for_each_index(y.sizes(), [&](std::span<const int64_t> index, int64_t) {
    int64_t at = 0;
    for (size_t d = 0; d < index.size(); ++d) at += index[d] * strides[d];
    if (mask.get_integer(at) != 0) f(y.offset(index));
  });
}

void masked_fill_scalar(const Call& call) {
  where_masked(call, [&](int64_t to) {
    fill(Part(call.outputs[0], to, {}), call.node.attribute("value"), {});
  });
}

void masked_fill_tensor(const Call& call) {
  where_masked(call, [&](int64_t to) {
    copy(Part(call.outputs[0], to, {}), Part(call.inputs[2], 0, {}), {});
  });
}

void masked_scatter(const Call& call) {
  const View& source = call.inputs[2];
  int64_t next = 0;
  where_masked(call, [&](int64_t to) {
    if (next == source.numel()) return report(call);
    copy(Part(call.outputs[0], to, {}), Part(source, source.offset_of(next++), {}), {});
  });
}

void slice_scatter(const Call& call) {
  const View &src = call.inputs[1], &y = call.outputs[0];
  copy(y, call.inputs[0]);
  const ops::Slice slice = ops::slice_of(call.node, ir::Shape(y.sizes().begin(), y.sizes().end()));
  std::vector<int64_t> strides = y.strides();
  strides[slice.dim] *= slice.step;
  const int64_t offset = slice.start.value() * y.strides()[slice.dim];
  copy(Part(y, offset, strides), Part(src), src.sizes());
}

void select_scatter(const Call& call) {
  const View &src = call.inputs[1], &y = call.outputs[0];
  copy(y, call.inputs[0]);
  const size_t dim = front_dim(call.node.integer("dim"), y.rank());
  int64_t position = call.node.integer("index");
  if (!wrap(position, y.size(dim))) return report(call);
  std::vector<int64_t> strides = y.strides();
  strides.erase(strides.begin() + static_cast<ptrdiff_t>(dim));
  copy(Part(y, position * y.strides()[dim], strides), Part(src), src.sizes());
}

}  // namespace

void add_index(KernelTable& table) {
  table.add("aten.index.Tensor", device::Tier::reference, make<index>);
  table.add("aten.index_put", device::Tier::reference, make<index_put>);
  table.add("aten.gather", device::Tier::reference, make<gather>);
  table.add("aten.scatter.value", device::Tier::reference, make<scatter_value>);
  table.add("aten.scatter.src", device::Tier::reference, make<scatter_src>);
  table.add("aten.scatter_add", device::Tier::reference, make<scatter_add>);
  table.add("aten.scatter_reduce.two", device::Tier::reference, make<scatter_reduce>);
  table.add("aten.index_select", device::Tier::reference, make<index_select>);
  table.add("aten.embedding", device::Tier::reference, make<embedding>);
  table.add("aten.masked_fill.Scalar", device::Tier::reference, make<masked_fill_scalar>);
  table.add("aten.masked_fill.Tensor", device::Tier::reference, make<masked_fill_tensor>);
  table.add("aten.masked_scatter", device::Tier::reference, make<masked_scatter>);
  table.add("aten.slice_scatter", device::Tier::reference, make<slice_scatter>);
  table.add("aten.select_scatter", device::Tier::reference, make<select_scatter>);
}

}  // namespace ostinato::cpu::reference
