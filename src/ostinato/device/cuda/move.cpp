#include "ostinato/device/cuda/kernels/move.h"

#include <algorithm>

#include "ostinato/base/dtype.h"
#include "ostinato/device/cuda/factories.h"
#include "ostinato/device/cuda/launches.h"
#include "ostinato/ops/ops.h"
#include "ostinato/ops/slice.h"

/// Copies between parts of tensors, caches, and tensors made of nothing.
namespace ostinato::cuda {

using device::Request;
using device::TensorDesc;

namespace {

using Dims = std::vector<int64_t>;

template <typename Params>
std::unique_ptr<Kernel> one_launch(Functions& functions, const char* name, int64_t count,
                                   std::vector<Use> operands, const Params& params) {
  if (count == 0) return std::make_unique<Kernel>();
  return kernel_of({over_elements(functions, name, count, std::move(operands), params)});
}

/// Adds a copy of a part of an operand to a part of a result, each of the same sizes; false when
/// the dims are too many.
bool add_copy(Kernel& kernel, Functions& functions, const Request& request, size_t operand,
              int64_t from, const Dims& from_strides, int64_t to, const Dims& to_strides,
              const Dims& sizes, size_t result = 0) {
  if (std::find(sizes.begin(), sizes.end(), 0) != sizes.end()) return true;
  const DType from_dtype = request.inputs[operand]->dtype, to_dtype = request.outputs[result].dtype;
  const TensorDesc source = part(from_dtype, sizes, from_strides);
  auto launch = elementwise(functions, "copy", from_dtype, {{&source, operand}},
                            part(to_dtype, sizes, to_strides), {}, output(result));
  if (!launch) return false;
  launch->operands[0].offset = static_cast<size_t>(from) * size_of(from_dtype);
  launch->operands[1].offset = static_cast<size_t>(to) * size_of(to_dtype);
  kernel.work.push_back({std::move(*launch), nullptr});
  return true;
}

std::unique_ptr<Kernel> make_cat(const Request& request, Functions& functions) {
  const TensorDesc& y = request.outputs[0];
  auto kernel = std::make_unique<Kernel>();
  const size_t dim = front_dim(request.node->integer("dim"), y.sizes().size());
  int64_t start = 0;
  for (size_t i = 0; i < request.inputs.size(); ++i) {
    const TensorDesc& x = *request.inputs[i];
    if (x.numel() == 0) continue;
    if (!add_copy(*kernel, functions, request, i, 0, x.strides(), start * y.strides()[dim],
                  y.strides(), x.sizes())) {
      return nullptr;
    }
    start += x.sizes()[dim];
  }
  return kernel;
}

std::unique_ptr<Kernel> make_stack(const Request& request, Functions& functions) {
  const TensorDesc& y = request.outputs[0];
  auto kernel = std::make_unique<Kernel>();
  const size_t dim = front_dim(request.node->integer("dim"), y.sizes().size());
  Dims strides = y.strides();
  strides.erase(strides.begin() + static_cast<std::ptrdiff_t>(dim));
  for (size_t i = 0; i < request.inputs.size(); ++i) {
    const TensorDesc& x = *request.inputs[i];
    if (!add_copy(*kernel, functions, request, i, 0, x.strides(),
                  static_cast<int64_t>(i) * y.strides()[dim], strides, x.sizes())) {
      return nullptr;
    }
  }
  return kernel;
}

/// A reshaped operand that strides cannot express: its elements in the order that they have there.
std::unique_ptr<Kernel> make_reshaped(const Request& request, Functions& functions) {
  const TensorDesc& x = *request.inputs[0];
  auto kernel = std::make_unique<Kernel>();
  const bool made = add_copy(*kernel, functions, request, 0, 0, x.strides(), 0,
                             ir::Layout::contiguous(x.sizes()).strides, x.sizes());
  return made ? std::move(kernel) : nullptr;
}

/// Any other view, as a copy of what it shows of its operand.
std::unique_ptr<Kernel> make_view(const Request& request, Functions& functions) {
  const TensorDesc& x = *request.inputs[0];
  auto kernel = std::make_unique<Kernel>();
  for (size_t i = 0; i < request.outputs.size(); ++i) {
    const TensorDesc& y = request.outputs[i];
    const auto seen = request.node->op->view(*request.node, i, x.layout);
    if (!seen || seen->offset < 0) return nullptr;
    if (!add_copy(*kernel, functions, request, 0, seen->offset, seen->strides, 0, y.strides(),
                  y.sizes(), i)) {
      return nullptr;
    }
  }
  return kernel;
}

std::unique_ptr<Kernel> make_repeat(const Request& request, Functions& functions) {
  const TensorDesc &x = *request.inputs[0], &y = request.outputs[0];
  const Dims repeats = request.node->integers("repeats");
  const size_t added = repeats.size() - x.sizes().size();
  Dims sizes, from, to;
  for (size_t i = 0; i < repeats.size(); ++i) {
    const int64_t size = i < added ? 1 : x.sizes()[i - added];
    sizes.insert(sizes.end(), {repeats[i], size});
    from.insert(from.end(), {0, i < added ? 0 : x.strides()[i - added]});
    to.insert(to.end(), {size * y.strides()[i], y.strides()[i]});
  }
  auto kernel = std::make_unique<Kernel>();
  const bool made = add_copy(*kernel, functions, request, 0, 0, from, 0, to, sizes);
  return made ? std::move(kernel) : nullptr;
}

std::unique_ptr<Kernel> make_flip(const Request& request, Functions& functions) {
  const TensorDesc &x = *request.inputs[0], &y = request.outputs[0];
  Dims strides = x.strides();
  int64_t from = 0;
  for (const int64_t dim : request.node->integers("dims")) {
    if (x.sizes().empty() || y.numel() == 0) break;
    const size_t i = front_dim(dim, x.sizes().size());
    from += (x.sizes()[i] - 1) * x.strides()[i];
    strides[i] = -x.strides()[i];
  }
  auto kernel = std::make_unique<Kernel>();
  // An operand's offset is not negative: what is flipped ends where it began.
  if (from < 0) return nullptr;
  const bool made =
      add_copy(*kernel, functions, request, 0, from, strides, 0, y.strides(), y.sizes());
  return made ? std::move(kernel) : nullptr;
}

std::unique_ptr<Kernel> make_roll(const Request& request, Functions& functions) {
  const TensorDesc& x = *request.inputs[0];
  const Dims shifts = request.node->integers("shifts"), dims = request.node->integers("dims");
  if (x.numel() == 0) return std::make_unique<Kernel>();
  RollParams params{};
  Dims sizes = x.sizes(), strides = x.strides();
  if (dims.empty()) {  // as if it were flat
    if (!x.layout.is_contiguous()) return nullptr;
    sizes = {x.numel()};
    strides = {1};
  }
  if (sizes.size() > kMaxDims) return nullptr;
  params.count = x.numel();
  params.dims = static_cast<int32_t>(sizes.size());
  std::copy(sizes.begin(), sizes.end(), params.sizes);
  std::copy(strides.begin(), strides.end(), params.strides);
  for (size_t i = 0; i < shifts.size() && !sizes.empty(); ++i) {
    const size_t dim = dims.empty() ? 0 : front_dim(dims[i], sizes.size());
    const int64_t size = sizes[dim];
    params.shifts[dim] = ((params.shifts[dim] + shifts[i] % size) % size + size) % size;
  }
  params.type = type_of(x.dtype);
  return one_launch(functions, "roll", params.count, {input(0), output()}, params);
}

template <bool lower>
std::unique_ptr<Kernel> make_triangle(const Request& request, Functions& functions) {
  const TensorDesc& x = *request.inputs[0];
  const auto walk = walk_of(x.sizes(), {x.strides()});
  if (!walk) return nullptr;
  const size_t rank = x.sizes().size();
  const TriangleParams params{*walk,
                              x.numel(),
                              x.sizes()[rank - 2],
                              x.sizes()[rank - 1],
                              request.node->integer("diagonal"),
                              lower ? 1 : 0,
                              type_of(x.dtype)};
  return one_launch(functions, "triangle", params.count, {input(0), output()}, params);
}

/// A copy of the first operand, in which the second lies over a part.
/// @param to where the part begins in the result, in elements
std::unique_ptr<Kernel> overlay(const Request& request, Functions& functions, int64_t to,
                                const Dims& strides) {
  const TensorDesc &self = *request.inputs[0], &src = *request.inputs[1], &y = request.outputs[0];
  auto kernel = std::make_unique<Kernel>();
  const bool made =
      add_copy(*kernel, functions, request, 0, 0, self.strides(), 0, y.strides(), y.sizes()) &&
      add_copy(*kernel, functions, request, 1, 0, src.strides(), to, strides, src.sizes());
  return made ? std::move(kernel) : nullptr;
}

std::unique_ptr<Kernel> make_slice_scatter(const Request& request, Functions& functions) {
  const TensorDesc& y = request.outputs[0];
  const ops::Slice slice =
      ops::slice_of(*request.node, ir::Shape(y.sizes().begin(), y.sizes().end()));
  Dims strides = y.strides();
  const int64_t to = slice.start.value() * strides[slice.dim];
  // A step past the end is taken by one element only, and may be too large to multiply.
  strides[slice.dim] *= std::min(slice.step, std::max<int64_t>(y.sizes()[slice.dim], 1));
  return overlay(request, functions, to, strides);
}

std::unique_ptr<Kernel> make_select_scatter(const Request& request, Functions& functions) {
  const TensorDesc& y = request.outputs[0];
  const size_t dim = front_dim(request.node->integer("dim"), y.sizes().size());
  const int64_t size = y.sizes()[dim];
  int64_t position = request.node->integer("index");
  if (position < 0) position += size;
  if (position < 0 || position >= size) return nullptr;
  Dims strides = y.strides();
  const int64_t to = position * strides[dim];
  strides.erase(strides.begin() + static_cast<std::ptrdiff_t>(dim));
  return overlay(request, functions, to, strides);
}

std::unique_ptr<Kernel> make_cache_update(const Request& request, Functions& functions) {
  const TensorDesc &cache = *request.inputs[0], &value = *request.inputs[1];
  if (request.inputs[2]->dtype != DType::int64 || cache.dtype != value.dtype ||
      !is_floating(cache.dtype)) {
    return nullptr;
  }
  CacheParams params{};
  const auto walk = walk_of(value.sizes(), {value.strides(), cache.strides()});
  if (!walk) return nullptr;
  params.walk = *walk;
  params.count = value.numel();
  params.position_stride = cache.strides()[2];
  params.most = cache.sizes()[2] - value.sizes()[2];
  params.value = params.cache = type_of(cache.dtype);
  return one_launch(functions, "cache_update", params.count, {input(0), input(1), input(2)},
                    params);
}

std::unique_ptr<Kernel> make_rotary(const Request& request, Functions& functions) {
  const TensorDesc &x = *request.inputs[0], &cos = *request.inputs[1], &sin = *request.inputs[2];
  const TensorDesc& y = request.outputs[0];
  RotaryParams params{};
  params.length = x.sizes().back();
  params.rotated = cos.sizes().back();
  if (params.rotated % 2 != 0 || params.rotated > params.length ||
      sin.sizes().back() != params.rotated) {
    return nullptr;
  }
  const auto before_last = [](Dims values) {
    values.pop_back();
    return values;
  };
  const Dims rows = before_last(x.sizes());
  const auto strides_of = [&](const TensorDesc& tensor) {
    return broadcast_strides(
        part(tensor.dtype, before_last(tensor.sizes()), before_last(tensor.strides())), rows);
  };
  const auto walk = walk_of(rows, {strides_of(x), strides_of(cos), strides_of(sin)});
  if (!walk) return nullptr;
  params.walk = *walk;
  params.rows = params.length == 0 ? 0 : x.numel() / params.length;
  params.x_stride = x.strides().back();
  params.cos_stride = cos.strides().back();
  params.sin_stride = sin.strides().back();
  params.interleaved = request.node->flag("interleaved") ? 1 : 0;
  params.x = type_of(x.dtype);
  params.cos = type_of(cos.dtype);
  params.sin = type_of(sin.dtype);
  params.y = type_of(y.dtype);
  return one_launch(functions, "rotary", x.numel(), {input(0), input(1), input(2), output(0)},
                    params);
}

std::unique_ptr<Kernel> make_arange(const Request& request, Functions& functions) {
  const TensorDesc& y = request.outputs[0];
  ir::Attribute first = ir::Dim(0), step = ir::Dim(1);
  for (size_t i = 0; i < request.node->attributes.size(); ++i) {
    if (request.node->op->attributes[i].name == "start") first = request.node->attributes[i];
    if (request.node->op->attributes[i].name == "step") step = request.node->attributes[i];
  }
  ArangeParams params{};
  params.count = y.numel();
  params.y = type_of(y.dtype);
  const bool real = is_floating(y.dtype);
  params.first = ir::number_of<double>(first);
  params.step = ir::number_of<double>(step);
  if (!real) {
    params.first_integer = ir::number_of<int64_t>(first);
    params.step_integer = ir::number_of<int64_t>(step);
  }
  return one_launch(functions, real ? "arange_real" : "arange_integer", params.count, {output(0)},
                    params);
}

/// Every element one number.
std::unique_ptr<Kernel> fill(const Request& request, Functions& functions,
                             const ir::Attribute& value) {
  const TensorDesc& y = request.outputs[0];
  auto kernel = std::make_unique<Kernel>();
  if (y.numel() == 0) return kernel;
  const bool real = is_floating(y.dtype) || y.dtype == DType::boolean;
  Source source;
  source.real = ir::number_of<double>(value);
  if (!real) source.integer = ir::number_of<int64_t>(value);
  auto launch = elementwise(functions, "copy", real ? DType::float32 : DType::int64, {source}, y);
  if (!launch) return nullptr;
  kernel->work.push_back({std::move(*launch), nullptr});
  return kernel;
}

std::unique_ptr<Kernel> make_zeros(const Request& request, Functions& functions) {
  return fill(request, functions, ir::Dim(0));
}
std::unique_ptr<Kernel> make_ones(const Request& request, Functions& functions) {
  return fill(request, functions, ir::Dim(1));
}
std::unique_ptr<Kernel> make_full(const Request& request, Functions& functions) {
  return fill(request, functions, request.node->attribute("fill_value"));
}
std::unique_ptr<Kernel> make_scalar(const Request& request, Functions& functions) {
  return fill(request, functions, request.node->attribute("s"));
}

std::unique_ptr<Kernel> make_pad(const Request& request, Functions& functions) {
  const TensorDesc &x = *request.inputs[0], &y = request.outputs[0];
  auto kernel = fill(request, functions, request.node->attribute("value"));
  if (kernel == nullptr) return nullptr;
  const Dims pad = request.node->integers("pad");
  Dims sizes = x.sizes();
  int64_t from = 0, to = 0;
  for (size_t i = 0; i < pad.size() / 2; ++i) {
    const size_t dim = x.sizes().size() - 1 - i;
    const int64_t before = pad[2 * i], after = pad[2 * i + 1];
    to += std::max<int64_t>(before, 0) * y.strides()[dim];
    from += std::max<int64_t>(-before, 0) * x.strides()[dim];
    sizes[dim] += std::min<int64_t>(before, 0) + std::min<int64_t>(after, 0);
    if (sizes[dim] <= 0) return kernel;  // all of it is cropped
  }
  if (from < 0) return nullptr;
  const bool made =
      add_copy(*kernel, functions, request, 0, from, x.strides(), to, y.strides(), sizes);
  return made ? std::move(kernel) : nullptr;
}

}  // namespace

void add_move(KernelTable& table) {
  table["aten.cat"] = make_cat;
  table["aten.stack"] = make_stack;
  for (const ir::OpRow* row : ops::table().rows()) {
    if (row->view != nullptr) table[row->name] = make_view;
  }
  table["aten.view"] = table["aten._unsafe_view"] = table["aten.reshape"] = make_reshaped;
  table["aten.repeat"] = make_repeat;
  table["aten.flip"] = make_flip;
  table["aten.roll"] = make_roll;
  table["aten.tril"] = make_triangle<true>;
  table["aten.triu"] = make_triangle<false>;
  table["aten.constant_pad_nd"] = make_pad;
  table["aten.slice_scatter"] = make_slice_scatter;
  table["aten.select_scatter"] = make_select_scatter;
  table["cache_update"] = make_cache_update;
  table["rotary"] = make_rotary;
  for (const std::string_view op : {"aten.arange", "aten.arange.start", "aten.arange.start_step"}) {
    table[op] = make_arange;
  }
  for (const std::string_view op : {"aten.zeros", "aten.zeros_like", "aten.empty.memory_format",
                                    "aten.empty_like", "aten.empty_permuted"}) {
    table[op] = make_zeros;
  }
  table["aten.ones"] = table["aten.ones_like"] = make_ones;
  table["aten.full"] = table["aten.full_like"] = make_full;
  table["aten.scalar_tensor"] = make_scalar;
}

}  // namespace ostinato::cuda
