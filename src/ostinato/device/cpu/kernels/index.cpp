#include "ostinato/device/cpu/kernels/index.h"

#include <algorithm>
#include <cstring>

#include "ostinato/base/dtype.h"
#include "ostinato/device/cpu/kernels/assembly.h"
#include "ostinato/device/cpu/kernels/kernels.h"
#include "ostinato/ops/index.h"
#include "ostinato/ops/slice.h"

namespace ostinato::cpu {

namespace {

// One element of a dtype: `to += from`. Integers wrap around.
void accumulate(DType dtype, void* to, const void* from) {
  dispatch(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T& target = *static_cast<T*>(to);
    const T value = *static_cast<const T*>(from);
    if constexpr (is_floating_v<T>) {
      target = from_float<T>(to_float(target) + to_float(value));
    } else if constexpr (std::is_same_v<T, bool>) {
      target = target || value;
    } else {
      target = static_cast<T>(static_cast<uint64_t>(target) + static_cast<uint64_t>(value));
    }
  });
}

/// Slabs of a tensor that index tensors name, and their places in another tensor: each position of
/// the index tensors is one slab.
struct Slabs {
  std::vector<size_t> operands;  ///< the index tensors
  std::vector<Strides> index_strides;
  std::vector<int64_t> index_sizes;             ///< their common shape
  std::vector<int64_t> dim_sizes, dim_strides;  ///< of the dims that they name; bytes
  bool from_end = false;                        ///< whether negative indices count from the end
  Strides other_strides;                        ///< of the other tensor along the index shape
  std::vector<int64_t> slab_sizes;
  Strides slab_in_named, slab_in_other;
};

/// Finds the slabs.
class SlabWalk {
 public:
  static std::optional<SlabWalk> make(const device::Request& request, const Slabs& slabs) {
    std::vector<Strides> strides = slabs.index_strides;
    strides.push_back(slabs.other_strides);
    if (strides.size() > Loops::kMaxOperands) return std::nullopt;
    const std::optional<Loops> loops = make_loops(slabs.index_sizes, strides);
    if (!loops) return std::nullopt;
    SlabWalk walk;
    walk.node_ = request.node;
    walk.slabs_ = slabs;
    walk.loops_ = *loops;
    for (size_t operand : slabs.operands) {
      walk.readers_.emplace_back(request.inputs[operand]->dtype);
    }
    return walk;
  }

  /// Calls `f(offset of the slab, offset in the other tensor)` for the worker's part of the slabs;
  /// reports indices that are out of range, and skips them.
  template <typename F>
  void run(const Args& args, Worker worker, F&& f) const {
    const Range range = part_of(loops_.count(), worker);
    ElementCursor cursor(loops_, range.begin);
    for (int64_t i = range.begin; i < range.end; ++i, cursor.next()) {
      int64_t offset = 0;
      bool within = true;
      for (size_t k = 0; k < readers_.size(); ++k) {
        const void* index = args.inputs[slabs_.operands[k]];
        int64_t position = readers_[k].read(at(index, cursor.offset(k)));
        if (slabs_.from_end && position < 0) position += slabs_.dim_sizes[k];
        within = position >= 0 && position < slabs_.dim_sizes[k];
        if (!within) break;
        offset += position * slabs_.dim_strides[k];
      }
      if (within) {
        f(offset, cursor.offset(readers_.size()));
      } else {
        args.fault->store(node_, std::memory_order_relaxed);
      }
    }
  }

 private:
  const ir::Node* node_ = nullptr;
  Slabs slabs_;
  Loops loops_;  // over the index shape: the index tensors, then the other tensor
  std::vector<IndexReader> readers_;
};

/// The slabs one after the other.
class TakeKernel final : public Kernel {
 public:
  TakeKernel(const device::Request& request, const SlabWalk& walk, const StridedCopy& copy)
      : walk_(walk), copy_(copy) {
    workers_ = workers_for_bytes(2 * request.outputs[0].bytes(), request.threads);
  }

  void run(const Args& args, Worker worker) const override {
    const void* named = args.inputs[0];
    walk_.run(args, worker, [&](int64_t from, int64_t to) {
      copy_.run(at(named, from), at(args.outputs[0], to), {0, 1});
    });
  }

 private:
  SlabWalk walk_;
  StridedCopy copy_;
};

std::unique_ptr<Kernel> make_take(const device::Request& request, const Slabs& slabs) {
  const DType dtype = request.outputs[0].dtype;
  const auto walk = SlabWalk::make(request, slabs);
  const auto copy = StridedCopy::make(slabs.slab_sizes, {dtype, slabs.slab_in_named},
                                      {dtype, slabs.slab_in_other});
  if (!walk || !copy) return nullptr;
  return std::make_unique<TakeKernel>(request, *walk, *copy);
}

/// A copy of the first operand with slabs of it overwritten or added to. On one thread: slabs may
/// be named twice.
class PutKernel final : public Kernel {
 public:
  PutKernel(const device::Request& request, const SlabWalk& walk, const StridedCopy& whole,
            const StridedCopy& slab, const Loops& elements, bool adds)
      : values_(request.inputs.size() - 1),
        dtype_(request.outputs[0].dtype),
        walk_(walk),
        whole_(whole),
        slab_(slab),
        elements_(elements),
        adds_(adds) {}

  void run(const Args& args, Worker worker) const override {
    char* y = static_cast<char*>(args.outputs[0]);
    const char* values = static_cast<const char*>(args.inputs[values_]);
    if (y != args.inputs[0]) whole_.run(args.inputs[0], y, worker);
    walk_.run(args, worker, [&](int64_t to, int64_t from) {
      if (!adds_) return slab_.run(values + from, y + to, {0, 1});
      ElementCursor cursor(elements_, 0);
      for (int64_t i = elements_.count(); i > 0; --i, cursor.next()) {
        accumulate(dtype_, y + to + cursor.offset(0), values + from + cursor.offset(1));
      }
    });
  }

 private:
  size_t values_;  // the operand
  DType dtype_;
  SlabWalk walk_;
  StridedCopy whole_, slab_;
  Loops elements_;  // of a slab: in the result, in the values
  bool adds_;
};

// What `indexing_of` says, as slabs of a tensor `named` whose places lie in one of `other` strides.
Slabs indexed_slabs(const device::Request& request, const device::TensorDesc& named,
                    const Strides& other) {
  const ops::Indexing indexing = ops::indexing_of(*request.node);
  Slabs slabs;
  slabs.from_end = true;
  slabs.index_sizes = ir::to_integers(indexing.index_shape);
  const Strides strides = byte_strides(named);
  for (size_t dim : indexing.dims) {
    slabs.operands.push_back(1 + dim);
    slabs.index_strides.push_back(broadcast_strides(*request.inputs[1 + dim], slabs.index_sizes));
    slabs.dim_sizes.push_back(named.sizes()[dim]);
    slabs.dim_strides.push_back(strides[dim]);
  }
  const size_t rank = slabs.index_sizes.size();
  const auto begin = other.begin() + static_cast<std::ptrdiff_t>(indexing.position);
  slabs.other_strides.assign(begin, begin + static_cast<std::ptrdiff_t>(rank));
  size_t next = 0;
  for (size_t d = 0; d < named.sizes().size(); ++d) {
    if (next < indexing.dims.size() && indexing.dims[next] == d) {
      ++next;
      continue;
    }
    const size_t i = slabs.slab_sizes.size();
    slabs.slab_sizes.push_back(named.sizes()[d]);
    slabs.slab_in_named.push_back(strides[d]);
    slabs.slab_in_other.push_back(other[i < indexing.position ? i : i + rank]);
  }
  return slabs;
}

std::unique_ptr<Kernel> make_index(const device::Request& request) {
  return make_take(request,
                   indexed_slabs(request, *request.inputs[0], byte_strides(request.outputs[0])));
}

std::unique_ptr<Kernel> make_index_put(const device::Request& request) {
  const device::TensorDesc &self = *request.inputs[0], &y = request.outputs[0];
  const device::TensorDesc& values = *request.inputs.back();
  const ops::Indexing indexing = ops::indexing_of(*request.node);
  const Strides value_strides = broadcast_strides(values, ir::to_integers(indexing.shape));
  const Slabs slabs = indexed_slabs(request, y, value_strides);
  const Strides elements[] = {slabs.slab_in_named, slabs.slab_in_other};
  const auto walk = SlabWalk::make(request, slabs);
  const auto whole =
      StridedCopy::make(y.sizes(), {self.dtype, byte_strides(self)}, {y.dtype, byte_strides(y)});
  const auto slab = StridedCopy::make(slabs.slab_sizes, {values.dtype, slabs.slab_in_other},
                                      {y.dtype, slabs.slab_in_named});
  const auto loops = make_loops(slabs.slab_sizes, elements);
  if (!walk || !whole || !slab || !loops) return nullptr;
  return std::make_unique<PutKernel>(request, *walk, *whole, *slab, *loops,
                                     request.node->flag("accumulate"));
}

// Slabs along one dim, named by an index tensor whose dims take that dim's place in the result.
Slabs slabs_along(const device::Request& request, size_t dim) {
  const device::TensorDesc &self = *request.inputs[0], &index = *request.inputs[1];
  const Strides strides = byte_strides(self), other = byte_strides(request.outputs[0]);
  const size_t rank = index.sizes().size();
  Slabs slabs;
  slabs.operands = {1};
  slabs.index_sizes = index.sizes();
  slabs.index_strides = {byte_strides(index)};
  slabs.dim_sizes = {self.sizes()[dim]};
  slabs.dim_strides = {strides[dim]};
  const auto begin = other.begin() + static_cast<std::ptrdiff_t>(dim);
  slabs.other_strides.assign(begin, begin + static_cast<std::ptrdiff_t>(rank));
  for (size_t d = 0; d < self.sizes().size(); ++d) {
    if (d == dim) continue;
    slabs.slab_sizes.push_back(self.sizes()[d]);
    slabs.slab_in_named.push_back(strides[d]);
    slabs.slab_in_other.push_back(other[d < dim ? d : d + rank - 1]);
  }
  return slabs;
}

std::unique_ptr<Kernel> make_embedding(const device::Request& request) {
  return make_take(request, slabs_along(request, 0));
}

std::unique_ptr<Kernel> make_index_select(const device::Request& request) {
  const device::TensorDesc &self = *request.inputs[0], &index = *request.inputs[1];
  // Scalars count as having one dim.
  device::Request padded = request;
  const auto as_vector = [](device::TensorDesc desc) {
    if (desc.sizes().empty()) desc.layout = ir::Layout::contiguous({1});
    return desc;
  };
  padded.inputs[0] = as_vector(self);
  padded.inputs[1] = as_vector(index);
  padded.outputs[0] = as_vector(request.outputs[0]);
  return make_take(
      padded, slabs_along(padded, wrap_dim(request.node->integer("dim"), self.sizes().size())));
}

/// Moves single elements between a tensor and the places that an index tensor names in another,
/// along one dim.
class ElementKernel final : public Kernel {
 public:
  enum class Action { gather, scatter, add, fill };

  ElementKernel(const device::Request& request, Action action, const Loops& loops,
                const std::optional<StridedCopy>& whole, int64_t size, int64_t stride,
                uint64_t value)
      : node_(request.node),
        action_(action),
        loops_(loops),
        whole_(whole),
        reader_(request.inputs[1]->dtype),
        dtype_(request.outputs[0].dtype),
        element_size_(size_of(dtype_)),
        size_(size),
        stride_(stride),
        value_(value) {
    if (action == Action::gather) {
      workers_ = workers_for_bytes(4 * request.outputs[0].bytes(), request.threads);
    }
  }

  void run(const Args& args, Worker worker) const override {
    if (whole_ && args.inputs[0] != args.outputs[0]) {
      whole_->run(args.inputs[0], args.outputs[0], worker);
    }
    const Range range = part_of(loops_.count(), worker);
    const void* index = args.inputs[1];
    ElementCursor cursor(loops_, range.begin);
    for (int64_t i = range.begin; i < range.end; ++i, cursor.next()) {
      const int64_t position = reader_.read(at(index, cursor.offset(0)));
      if (position < 0 || position >= size_) {
        args.fault->store(node_, std::memory_order_relaxed);
        continue;
      }
      const int64_t named = cursor.offset(1) + position * stride_, other = cursor.offset(2);
      act(args, named, other);
    }
  }

 private:
  void act(const Args& args, int64_t named, int64_t other) const {
    switch (action_) {
      case Action::gather:
        std::memcpy(at(args.outputs[0], other), at(args.inputs[0], named), element_size_);
        break;
      case Action::scatter:
        std::memcpy(at(args.outputs[0], named), at(args.inputs[2], other), element_size_);
        break;
      case Action::add:
        accumulate(dtype_, at(args.outputs[0], named), at(args.inputs[2], other));
        break;
      case Action::fill: std::memcpy(at(args.outputs[0], named), &value_, element_size_); break;
    }
  }

  const ir::Node* node_;
  Action action_;
  Loops loops_;  // over the index tensor: itself, the named tensor, the other tensor
  std::optional<StridedCopy> whole_;
  IndexReader reader_;
  DType dtype_;
  size_t element_size_;
  int64_t size_, stride_;  // of the named dim
  uint64_t value_;         // of `fill`, as bits
};

template <ElementKernel::Action action>
std::unique_ptr<Kernel> make_elements(const device::Request& request) {
  using Action = ElementKernel::Action;
  const device::TensorDesc &self = *request.inputs[0], &index = *request.inputs[1];
  const device::TensorDesc& y = request.outputs[0];
  const bool gathers = action == Action::gather;
  const device::TensorDesc& named = gathers ? self : y;
  const size_t rank = index.sizes().size();
  // A scalar stands still along the dims that only the other tensors have.
  const auto strides_of = [&](const device::TensorDesc& desc) {
    return desc.sizes().empty() ? Strides(rank, 0) : byte_strides(desc);
  };
  Strides named_strides = strides_of(named), other_strides(rank, 0);
  if (gathers) other_strides = strides_of(y);
  if (action == Action::scatter || action == Action::add) {
    other_strides = strides_of(*request.inputs[2]);
    if (request.inputs[2]->dtype != y.dtype) return nullptr;
  }
  named_strides.resize(rank);
  const size_t dim = wrap_dim(request.node->integer("dim"), named.sizes().size());
  int64_t size = 1, stride = 0;
  if (!named.sizes().empty()) {
    size = named.sizes()[dim];
    stride = byte_strides(named)[dim];
    if (dim < rank) named_strides[dim] = 0;
  }
  const Strides strides[] = {byte_strides(index), named_strides, other_strides};
  const auto loops = make_loops(index.sizes(), strides);
  std::optional<StridedCopy> whole;
  if (!gathers) {
    whole =
        StridedCopy::make(y.sizes(), {self.dtype, byte_strides(self)}, {y.dtype, byte_strides(y)});
    if (!whole) return nullptr;
  }
  if (!loops) return nullptr;
  const uint64_t value =
      action == Action::fill ? bits_of(request.node->attribute("value"), y.dtype) : uint64_t{0};
  return std::make_unique<ElementKernel>(request, action, *loops, whole, size, stride, value);
}

std::unique_ptr<Kernel> make_slice_scatter(const device::Request& request) {
  const device::TensorDesc &self = *request.inputs[0], &src = *request.inputs[1];
  const device::TensorDesc& y = request.outputs[0];
  const ops::Slice slice =
      ops::slice_of(*request.node, ir::Shape(y.sizes().begin(), y.sizes().end()));
  const size_t dim = slice.dim;
  const Strides from = byte_strides(self), to = byte_strides(y);
  const int64_t start = slice.start.value(), length = src.sizes()[dim], size = y.sizes()[dim];
  const int64_t step = length > 1 ? slice.step : 1;
  const int64_t end = std::min(size, start + length * step);
  auto assembly = std::make_unique<Assembly>(request);
  const auto keep = [&](int64_t first, int64_t stop, int64_t stride) {
    std::vector<int64_t> sizes = y.sizes();
    sizes[dim] = (std::max<int64_t>(stop - first, 0) + stride - 1) / stride;
    Strides from_steps = from, to_steps = to;
    from_steps[dim] *= stride;
    to_steps[dim] *= stride;
    assembly->copy({0, first * from[dim], from_steps}, {0, first * to[dim], to_steps}, sizes);
  };
  keep(0, start, 1);
  // What lies between the written: by gap or by place in a gap, whichever makes fewer copies.
  if (length < step) {
    for (int64_t at = start; at < end; at += step) keep(at + 1, std::min(at + step, end), 1);
  } else {
    for (int64_t i = 1; i < step; ++i) keep(start + i, end, step);
  }
  keep(end, size, 1);
  Strides to_steps = to;
  to_steps[dim] *= step;
  assembly->copy({1, 0, byte_strides(src)}, {0, start * to[dim], to_steps}, src.sizes());
  return Assembly::finish(std::move(assembly));
}

std::unique_ptr<Kernel> make_select_scatter(const device::Request& request) {
  const device::TensorDesc &self = *request.inputs[0], &src = *request.inputs[1];
  const device::TensorDesc& y = request.outputs[0];
  const size_t dim = wrap_dim(request.node->integer("dim"), y.sizes().size());
  const Strides from = byte_strides(self), to = byte_strides(y);
  int64_t position = request.node->integer("index");
  if (position < 0) position += y.sizes()[dim];
  auto assembly = std::make_unique<Assembly>(request);
  const auto keep = [&](int64_t first, int64_t stop) {
    std::vector<int64_t> sizes = y.sizes();
    sizes[dim] = stop - first;
    assembly->copy({0, first * from[dim], from}, {0, first * to[dim], to}, sizes);
  };
  keep(0, position);
  keep(position + 1, y.sizes()[dim]);
  Strides rest = to;
  rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(dim));
  assembly->copy({1, 0, byte_strides(src)}, {0, position * to[dim], rest}, src.sizes());
  return Assembly::finish(std::move(assembly));
}

}  // namespace

void add_index(KernelTable& table) {
  using Action = ElementKernel::Action;
  const auto add = [&table](std::string_view name, Factory make) {
    table.add(name, device::Tier::fast, make);
  };
  add("aten.index.Tensor", make_index);
  add("aten.index_put", make_index_put);
  add("aten.index_select", make_index_select);
  add("aten.embedding", make_embedding);
  add("aten.gather", make_elements<Action::gather>);
  add("aten.scatter.value", make_elements<Action::fill>);
  add("aten.scatter.src", make_elements<Action::scatter>);
  add("aten.scatter_add", make_elements<Action::add>);
  add("aten.slice_scatter", make_slice_scatter);
  add("aten.select_scatter", make_select_scatter);
}

}  // namespace ostinato::cpu
