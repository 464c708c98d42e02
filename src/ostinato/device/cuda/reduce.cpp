#include "ostinato/device/cuda/kernels/reduce.h"

#include "ostinato/device/cuda/factories.h"
#include "ostinato/device/cuda/launches.h"
#include "ostinato/ops/reduce.h"

/// Reductions over any dims.
namespace ostinato::cuda {

using device::Request;
using device::TensorDesc;

namespace {

/// What all reductions need to know; nothing where a kernel cannot walk the dims.
std::optional<ReduceParams> reduction_of(const Request& request) {
  const TensorDesc &x = *request.inputs[0], &y = request.outputs[0];
  const std::vector<bool> reduced = ops::reduced_dims(*request.node);
  std::vector<int64_t> sizes[2], strides[2];
  ReduceParams params{};
  params.count = 1;
  params.scale = 1;
  for (size_t d = 0; d < reduced.size(); ++d) {
    sizes[reduced[d]].push_back(x.sizes()[d]);
    strides[reduced[d]].push_back(x.strides()[d]);
    if (reduced[d]) params.count *= x.sizes()[d];
  }
  const auto kept = walk_of(sizes[0], {strides[0]}), over = walk_of(sizes[1], {strides[1]});
  if (!kept || !over || y.numel() > kMostBlocks) return std::nullopt;
  params.kept = *kept;
  params.reduced = *over;
  params.x = type_of(x.dtype);
  params.y = type_of(y.dtype);
  return params;
}

std::unique_ptr<Kernel> reduce(const Request& request, Functions& functions,
                               const std::string& name, const ReduceParams& params,
                               std::vector<Use> operands) {
  const int64_t results = request.outputs[0].numel();
  if (results == 0) return std::make_unique<Kernel>();
  return kernel_of({over_blocks(functions, name, results, threads_for(params.count),
                                std::move(operands), params)});
}

std::string with_half(const std::string& name, DType dtype) {
  return name + (is_floating(dtype) ? "_real" : "_integer");
}

enum class Plain { sum, mean, prod, amax, amin, any, all };

/// One value of all, in the result's dtype.
template <Plain what>
std::unique_ptr<Kernel> make_plain(const Request& request, Functions& functions) {
  auto params = reduction_of(request);
  if (!params) return nullptr;
  const DType dtype = request.outputs[0].dtype;
  std::string name;
  switch (what) {
    case Plain::sum: name = with_half("sum", dtype); break;
    case Plain::mean:
      name = "sum_real";
      params->scale = 1 / static_cast<double>(params->count);
      break;
    case Plain::prod: name = with_half("prod", dtype); break;
    case Plain::amax: name = with_half("amax", dtype); break;
    case Plain::amin: name = with_half("amin", dtype); break;
    case Plain::any: name = "any_real"; break;
    case Plain::all: name = "all_real"; break;
  }
  return reduce(request, functions, name, *params, {input(0), output()});
}

/// Where the extremum is, and with two results what it is.
template <bool largest>
std::unique_ptr<Kernel> make_arg_extremum(const Request& request, Functions& functions) {
  const auto params = reduction_of(request);
  constexpr int64_t kMostPlaces = 0x7fffffff;
  if (!params || params->count == 0 || params->count > kMostPlaces) return nullptr;
  const bool has_values = request.outputs.size() > 1;
  return reduce(request, functions,
                with_half(largest ? "argmax" : "argmin", request.inputs[0]->dtype), *params,
                {input(0), has_values ? output(0) : none(), output(has_values ? 1 : 0)});
}

std::unique_ptr<Kernel> make_variance(const Request& request, Functions& functions) {
  const ir::Node& node = *request.node;
  auto params = reduction_of(request);
  if (!params) return nullptr;
  params->correction = 1;
  if (node.op->name == "aten.var.dim") {
    params->correction = node.flag("unbiased") ? 1 : 0;
  } else if (node.has("correction")) {
    params->correction = node.real("correction");
  }
  params->deviation = node.op->name == "aten.std.correction" ? 1 : 0;
  return reduce(request, functions, "variance", *params,
                {input(0), output(), request.outputs.size() > 1 ? output(1) : none()});
}

std::unique_ptr<Kernel> make_norm(const Request& request, Functions& functions) {
  auto params = reduction_of(request);
  if (!params) return nullptr;
  params->order = request.node->real("ord");
  return reduce(request, functions, "vector_norm", *params, {input(0), output()});
}

std::unique_ptr<Kernel> make_histogram(const Request& request, Functions& functions) {
  const TensorDesc &x = *request.inputs[0], &y = request.outputs[0];
  const auto walk = walk_of(x.sizes(), {x.strides()});
  if (!walk || y.numel() > kMostBlocks) return nullptr;
  HistogramParams params{};
  params.walk = *walk;
  params.count = x.numel();
  params.bins = y.numel();
  params.min = static_cast<float>(request.node->real("min"));
  params.max = static_cast<float>(request.node->real("max"));
  params.x = type_of(x.dtype);
  params.y = type_of(y.dtype);
  return kernel_of({over_blocks(functions, "histogram", params.bins, threads_for(params.count),
                                {input(0), output()}, params)});
}

}  // namespace

void add_reduce(KernelTable& table) {
  table["aten.sum"] = table["aten.sum.dim_IntList"] = make_plain<Plain::sum>;
  table["aten.prod"] = table["aten.prod.dim_int"] = make_plain<Plain::prod>;
  table["aten.mean"] = table["aten.mean.dim"] = make_plain<Plain::mean>;
  table["aten.amax"] = table["aten.max"] = make_plain<Plain::amax>;
  table["aten.amin"] = table["aten.min"] = make_plain<Plain::amin>;
  table["aten.any"] = table["aten.any.dim"] = table["aten.any.dims"] = make_plain<Plain::any>;
  table["aten.all"] = table["aten.all.dim"] = table["aten.all.dims"] = make_plain<Plain::all>;
  table["aten.argmax"] = table["aten.max.dim"] = make_arg_extremum<true>;
  table["aten.argmin"] = table["aten.min.dim"] = make_arg_extremum<false>;
  for (const std::string_view op :
       {"aten.var.correction", "aten.var.dim", "aten.std.correction", "aten.var_mean.correction"}) {
    table[op] = make_variance;
  }
  table["aten.linalg_vector_norm"] = make_norm;
  table["aten.histc"] = make_histogram;
}

}  // namespace ostinato::cuda
