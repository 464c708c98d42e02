#include "ostinato/device/cuda/kernels/index.h"

#include <algorithm>
#include <array>

#include "ostinato/device/cuda/factories.h"
#include "ostinato/device/cuda/launches.h"
#include "ostinato/ops/index.h"

/// Look-ups, and writes to places that index tensors or masks name.
namespace ostinato::cuda {

using device::Request;
using device::TensorDesc;

namespace {

using Dims = std::vector<int64_t>;

/// Which dims of a tensor index tensors name, and where the index tensors' shape stands among the
/// others.
struct Naming {
  std::vector<size_t> dims, operands;  ///< one index tensor each
  Dims index_sizes;
  size_t position = 0;
  bool from_end = false;
};

/// @param other of the shape that the naming gives: its strides
std::optional<NamedParams> named(const Request& request, const TensorDesc& tensor,
                                 const Naming& naming, const Dims& other) {
  NamedParams params{};
  if (naming.dims.size() > kMostNames || naming.index_sizes.size() > kMaxDims) return std::nullopt;
  params.names = static_cast<int32_t>(naming.dims.size());
  params.item_dims = static_cast<int32_t>(naming.index_sizes.size());
  params.item_count = params.line_count = 1;
  for (size_t d = 0; d < naming.index_sizes.size(); ++d) {
    params.item_sizes[d] = naming.index_sizes[d];
    params.item_count *= naming.index_sizes[d];
    params.other_strides[d] = other[naming.position + d];
  }
  for (size_t k = 0; k < naming.dims.size(); ++k) {
    const TensorDesc& index = *request.inputs[naming.operands[k]];
    const Dims strides = broadcast_strides(index, naming.index_sizes);
    std::copy(strides.begin(), strides.end(), params.index_strides[k]);
    params.sizes[k] = tensor.sizes()[naming.dims[k]];
    params.strides[k] = tensor.strides()[naming.dims[k]];
    params.indices[k] = type_of(index.dtype);
  }
  Dims sizes, in_named, in_other;
  for (size_t d = 0; d < tensor.sizes().size(); ++d) {
    if (std::find(naming.dims.begin(), naming.dims.end(), d) != naming.dims.end()) continue;
    const size_t i = sizes.size();
    sizes.push_back(tensor.sizes()[d]);
    in_named.push_back(tensor.strides()[d]);
    in_other.push_back(other[i < naming.position ? i : i + naming.index_sizes.size()]);
    params.line_count *= tensor.sizes()[d];
  }
  const auto walk = walk_of(sizes, {Dims(sizes.size(), 0), in_named, in_other});
  if (!walk) return std::nullopt;
  params.lines = *walk;
  params.lines_last = naming.position < sizes.size() ? 1 : 0;
  params.from_end = naming.from_end ? 1 : 0;
  params.type = type_of(tensor.dtype);
  return params;
}

/// A scalar has one dim, of one element.
TensorDesc at_least_one_dim(const TensorDesc& tensor) {
  return tensor.sizes().empty() ? part(tensor.dtype, {1}, {0}) : tensor;
}

/// Named by the request's second operand along its `dim`, element by element.
std::optional<NamedParams> named_along(const Request& request, const TensorDesc& tensor,
                                       const TensorDesc& other) {
  const TensorDesc index = at_least_one_dim(*request.inputs[1]);
  const TensorDesc self = at_least_one_dim(tensor), beside = at_least_one_dim(other);
  const int64_t dim = request.node->integer("dim");
  const auto lines = lines_of(dim, {&index, &self, &beside});
  if (!lines) return std::nullopt;
  const size_t at = front_dim(dim, self.sizes().size());
  NamedParams params{};
  params.lines = lines->walk;
  params.line_count = lines->count;
  params.item_count = params.item_sizes[0] = lines->length;
  params.item_dims = params.names = 1;
  params.index_strides[0][0] = lines->strides[0];
  params.strides[0] = lines->strides[1];
  params.other_strides[0] = lines->strides[2];
  params.sizes[0] = self.sizes()[at];
  params.lines_last = at + 1 < self.sizes().size() ? 1 : 0;
  params.indices[0] = type_of(index.dtype);
  params.type = type_of(tensor.dtype);
  return params;
}

std::unique_ptr<Kernel> take(Functions& functions, const std::optional<NamedParams>& params,
                             const std::vector<size_t>& indices) {
  if (!params) return nullptr;
  const int64_t count = params->line_count * params->item_count;
  if (count == 0) return std::make_unique<Kernel>();
  std::vector<Use> operands = {input(0), output()};
  for (const size_t index : indices) operands.push_back(input(index));
  return kernel_of({over_elements(functions, "take_named", count, operands, *params)});
}

std::unique_ptr<Kernel> make_embedding(const Request& request, Functions& functions) {
  const Naming naming{{0}, {1}, request.inputs[1]->sizes()};
  return take(functions, named(request, *request.inputs[0], naming, request.outputs[0].strides()),
              {1});
}

std::unique_ptr<Kernel> make_index_select(const Request& request, Functions& functions) {
  const TensorDesc x = at_least_one_dim(*request.inputs[0]);
  const TensorDesc y = at_least_one_dim(request.outputs[0]);
  const size_t dim = front_dim(request.node->integer("dim"), x.sizes().size());
  const Naming naming{{dim}, {1}, {request.inputs[1]->numel()}, dim};
  return take(functions, named(request, x, naming, y.strides()), {1});
}

Naming naming_of(const Request& request) {
  const ops::Indexing indexing = ops::indexing_of(*request.node);
  Naming naming{indexing.dims, {}, ir::to_integers(indexing.index_shape), indexing.position, true};
  for (const size_t dim : indexing.dims) naming.operands.push_back(1 + dim);
  return naming;
}

std::unique_ptr<Kernel> make_index(const Request& request, Functions& functions) {
  const Naming naming = naming_of(request);
  return take(functions, named(request, *request.inputs[0], naming, request.outputs[0].strides()),
              naming.operands);
}

std::unique_ptr<Kernel> make_gather(const Request& request, Functions& functions) {
  return take(functions, named_along(request, *request.inputs[0], request.outputs[0]), {1});
}

/// The first operand under the result's sizes, which stays where nothing is written.
std::optional<Launch> copy_of_self(const Request& request, Functions& functions) {
  const TensorDesc &self = *request.inputs[0], &y = request.outputs[0];
  return elementwise(functions, "copy", self.dtype, {{&self, 0}}, y);
}

std::unique_ptr<Kernel> put(const Request& request, Functions& functions,
                            const std::optional<PutParams>& params, Use values,
                            const std::vector<size_t>& indices) {
  if (request.outputs[0].numel() == 0) return std::make_unique<Kernel>();
  auto copy = copy_of_self(request, functions);
  if (!params || !copy) return nullptr;
  const NamedParams& named = params->named;
  std::vector<Launch> launches = {std::move(*copy)};
  if (named.line_count * named.item_count > 0) {
    std::vector<Use> operands = {output(), values};
    for (const size_t index : indices) operands.push_back(input(index));
    constexpr int64_t kShort = 32;  // items that a thread goes through by itself
    const bool fills = named.line_count >= int64_t{64} * functions.multiprocessors();
    launches.push_back(
        fills || named.item_count <= kShort || named.line_count > kMostBlocks
            ? over_elements(functions, "put_lines", named.line_count, operands, *params)
            : over_blocks(functions, "put_chunks", named.line_count, 256, operands, *params));
  }
  return kernel_of(std::move(launches));
}

std::unique_ptr<Kernel> make_index_put(const Request& request, Functions& functions) {
  const TensorDesc& y = request.outputs[0];
  const Naming naming = naming_of(request);
  const size_t values = request.inputs.size() - 1;
  const Dims shape = ir::to_integers(ops::indexing_of(*request.node).shape);
  const auto params = named(request, y, naming, broadcast_strides(*request.inputs[values], shape));
  if (!params) return nullptr;
  return put(request, functions, PutParams{*params, 0, 0, request.node->flag("accumulate") ? 1 : 0},
             input(values), naming.operands);
}

template <bool adds>
std::unique_ptr<Kernel> make_scatter(const Request& request, Functions& functions) {
  const auto params = named_along(request, request.outputs[0], *request.inputs[2]);
  if (!params) return nullptr;
  return put(request, functions, PutParams{*params, 0, 0, adds ? 1 : 0}, input(2), {1});
}

std::unique_ptr<Kernel> make_scatter_value(const Request& request, Functions& functions) {
  const TensorDesc& y = request.outputs[0];
  const auto params = named_along(request, y, y);
  if (!params) return nullptr;
  const ir::Attribute& value = request.node->attribute("value");
  PutParams put_params{*params, ir::number_of<double>(value), 0, 0};
  if (y.dtype == DType::boolean) {
    put_params.integer = put_params.real != 0 ? 1 : 0;
  } else if (!is_floating(y.dtype)) {
    put_params.integer = ir::number_of<int64_t>(value);
  }
  return put(request, functions, put_params, none(), {1});
}

std::unique_ptr<Kernel> make_scatter_reduce(const Request& request, Functions& functions) {
  const TensorDesc& y = request.outputs[0];
  if (y.numel() == 0) return std::make_unique<Kernel>();
  auto copy = copy_of_self(request, functions);
  const auto params = named_along(request, y, *request.inputs[2]);
  if (!copy || !params) return nullptr;
  constexpr std::array<std::string_view, 5> kNames = {"sum", "prod", "mean", "amax", "amin"};
  const auto* const name = std::find(kNames.begin(), kNames.end(), request.node->string("reduce"));
  std::vector<Launch> launches = {std::move(*copy)};
  if (params->line_count * params->item_count > 0) {
    launches.push_back(
        over_elements(functions, "scatter_reduce", params->line_count * params->sizes[0],
                      {output(), input(2), input(1)},
                      ScatterReduceParams{*params, static_cast<Reduction>(name - kNames.begin()),
                                          request.node->flag("include_self") ? 1 : 0}));
  }
  return kernel_of(std::move(launches));
}

std::unique_ptr<Kernel> make_masked_scatter(const Request& request, Functions& functions) {
  const TensorDesc &source = *request.inputs[2], &y = request.outputs[0];
  if (y.numel() == 0) return std::make_unique<Kernel>();
  auto copy = copy_of_self(request, functions);
  const auto walk = walk_of(y.sizes(), {broadcast_strides(*request.inputs[1], y.sizes())});
  const auto source_walk = walk_of(source.sizes(), {source.strides()});
  const int64_t chunks = (y.numel() + kMaskChunk - 1) / kMaskChunk;
  if (!copy || !walk || !source_walk || chunks > kMostBlocks) return nullptr;
  const MaskedScatterParams params{*walk, *source_walk, y.numel(), source.numel(),
                                   type_of(y.dtype)};
  const std::vector<Use> operands = {output(), input(1), input(2), scratch()};
  return kernel_of(
      {std::move(*copy), over_blocks(functions, "count_masked", chunks, 256, operands, params),
       over_blocks(functions, "masked_scatter", chunks, 256, operands, params)},
      static_cast<size_t>(chunks) * sizeof(int64_t));
}

}  // namespace

void add_index(KernelTable& table) {
  table["aten.embedding"] = make_embedding;
  table["aten.index_select"] = make_index_select;
  table["aten.index.Tensor"] = make_index;
  table["aten.gather"] = make_gather;
  table["aten.index_put"] = make_index_put;
  table["aten.scatter.src"] = make_scatter<false>;
  table["aten.scatter_add"] = make_scatter<true>;
  table["aten.scatter.value"] = make_scatter_value;
  table["aten.scatter_reduce.two"] = make_scatter_reduce;
  table["aten.masked_scatter"] = make_masked_scatter;
}

}  // namespace ostinato::cuda
