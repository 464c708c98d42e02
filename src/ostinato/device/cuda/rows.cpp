#include "ostinato/device/cuda/rows.h"

#include <algorithm>

#include "ostinato/device/cuda/factories.h"
#include "ostinato/device/cuda/launches.h"
#include "ostinato/ops/reduce.h"

/// Norms, softmax and reductions.
namespace ostinato::cuda {

using device::Request;
using device::TensorDesc;

namespace {

/// A block's threads for a row of that length: whole warps, four elements each.
unsigned threads_for(int64_t length) {
  constexpr int64_t kMost = 256, kEach = 4;
  return static_cast<unsigned>(std::clamp<int64_t>((length / kEach + 31) / 32 * 32, 32, kMost));
}

bool is_row(const TensorDesc& tensor, int64_t length) {
  return length == 1 || (!tensor.strides().empty() && tensor.strides().back() == 1);
}

std::vector<int64_t> without_last(const std::vector<int64_t>& values) {
  return {values.begin(), values.end() - 1};
}

/// Norms over the last dim, or over the last ones of something contiguous.
/// @param operands those of the kernels, as NormParams lists them
std::unique_ptr<Kernel> norm(const Request& request, Functions& functions, const char* name,
                             int64_t length, std::vector<Use> operands) {
  const TensorDesc &x = *request.inputs[0], &y = request.outputs[0];
  if (y.numel() == 0) return std::make_unique<Kernel>();
  const bool last = !x.sizes().empty() && x.sizes().back() == length;
  if (last ? !is_row(x, length) : !x.layout.is_contiguous()) return nullptr;
  const auto type = [&](const Use& use) {
    return use.of == Use::Of::input ? type_of(request.inputs[use.index]->dtype) : Type::float32;
  };
  const int64_t rows = x.numel() / length;
  NormParams params{};
  std::vector<int64_t> sizes = {rows};
  std::vector<std::vector<int64_t>> strides = {{length}, {length}};
  if (last) {
    sizes = without_last(x.sizes());
    strides[0] = without_last(x.strides());
    strides[1] = without_last(TensorDesc{y.dtype, ir::Layout::contiguous(x.sizes())}.strides());
  }
  if (operands[1].of == Use::Of::input) {
    const TensorDesc& residual = *request.inputs[operands[1].index];
    if (!last || !is_row(residual, length)) return nullptr;
    strides[1] = without_last(residual.strides());
  }
  for (size_t i = 2; i < 4; ++i) {
    if (operands[i].of != Use::Of::input) continue;
    if (!request.inputs[operands[i].index]->layout.is_contiguous()) return nullptr;
  }
  const auto walk = walk_of(sizes, strides);
  if (!walk) return nullptr;
  params.walk = *walk;
  params.length = length;
  params.inverse_length = 1 / static_cast<float>(length);
  params.eps = static_cast<float>(request.node->real("eps"));
  params.x = type(operands[0]);
  params.residual = type(operands[1]);
  params.weight = type(operands[2]);
  params.bias = type(operands[3]);
  params.y = type_of(y.dtype);
  if (request.outputs.size() == 3) params.moments = type_of(request.outputs[1].dtype);
  Launch launch;
  launch.function = functions.find(name);
  launch.grid[0] = static_cast<unsigned>(rows);
  launch.threads = threads_for(length);
  launch.operands = std::move(operands);
  launch.params = bytes_of_params(params);
  return kernel_of({std::move(launch)});
}

Use input_or_none(const Request& request, size_t index) {
  return index < request.inputs.size() && request.inputs[index] ? input(index) : none();
}

std::unique_ptr<Kernel> make_rms_norm(const Request& request, Functions& functions) {
  const TensorDesc& x = *request.inputs[0];
  if (x.sizes().empty()) return nullptr;
  return norm(request, functions, "rms_norm", x.sizes().back(),
              {input(0), none(), input_or_none(request, 1), none(), output(0), none(), none()});
}

std::unique_ptr<Kernel> make_add_rms_norm(const Request& request, Functions& functions) {
  const TensorDesc& x = *request.inputs[0];
  if (x.sizes().empty() || request.inputs[1]->sizes() != x.sizes()) return nullptr;
  return norm(
      request, functions, "rms_norm", x.sizes().back(),
      {input(0), input(1), input_or_none(request, 2), none(), output(0), output(1), none()});
}

std::unique_ptr<Kernel> make_layer_norm(const Request& request, Functions& functions) {
  const TensorDesc& x = *request.inputs[0];
  if (x.sizes().empty()) return nullptr;
  return norm(request, functions, "layer_norm", x.sizes().back(),
              {input(0), none(), input_or_none(request, 1), input_or_none(request, 2), output(0),
               none(), none()});
}

std::unique_ptr<Kernel> make_add_layer_norm(const Request& request, Functions& functions) {
  const TensorDesc &x = *request.inputs[0], &residual = *request.inputs[1];
  if (x.sizes().empty() || residual.sizes() != x.sizes() || residual.dtype != x.dtype) {
    return nullptr;
  }
  return norm(request, functions, "layer_norm", x.sizes().back(),
              {input(0), input(1), input_or_none(request, 2), input_or_none(request, 3), output(0),
               none(), none(), output(1)});
}

std::unique_ptr<Kernel> make_native_layer_norm(const Request& request, Functions& functions) {
  int64_t length = 1;
  for (const int64_t size : request.node->integers("normalized_shape")) length *= size;
  if (length == 0) return nullptr;
  return norm(request, functions, "layer_norm", length,
              {input(0), none(), input_or_none(request, 1), input_or_none(request, 2), output(0),
               output(1), output(2)});
}

std::unique_ptr<Kernel> make_softmax(const Request& request, Functions& functions) {
  const TensorDesc &x = *request.inputs[0], &y = request.outputs[0];
  if (y.numel() == 0) return std::make_unique<Kernel>();
  const auto lines = lines_of(request.node->integer("dim"), {&x, &y});
  if (!lines) return nullptr;
  SoftmaxParams params{};
  params.walk = lines->walk;
  params.length = lines->length;
  params.x_stride = lines->strides[0];
  params.y_stride = lines->strides[1];
  params.logarithm = request.node->op->name == "aten._log_softmax" ? 1 : 0;
  params.x = type_of(x.dtype);
  params.y = type_of(y.dtype);
  return kernel_of({over_blocks(functions, "softmax", lines->count, threads_for(params.length),
                                {input(0), output()}, params)});
}

/// The dims that a reduction goes over: those of its attribute `dim`, or all.
std::vector<bool> reduced_dims(const ir::Node& node, size_t rank) {
  std::vector<bool> reduced(rank, true);
  const auto& attributes = node.op->attributes;
  const auto found = std::find_if(attributes.begin(), attributes.end(),
                                  [](const ir::AttrSpec& spec) { return spec.name == "dim"; });
  if (found == attributes.end() || !node.has("dim")) return reduced;
  const auto dims = found->kind == ir::AttrKind::integers
                        ? node.integers("dim")
                        : std::vector<int64_t>{node.integer("dim")};
  if (dims.empty()) return reduced;
  reduced.assign(rank, false);
  for (const int64_t dim : dims) {
    const int64_t at = dim < 0 ? dim + static_cast<int64_t>(rank) : dim;
    if (at >= 0 && at < static_cast<int64_t>(rank)) reduced[static_cast<size_t>(at)] = true;
  }
  return reduced;
}

std::unique_ptr<Kernel> reduce(const Request& request, Functions& functions,
                               const std::string& name, bool mean = false) {
  const TensorDesc &x = *request.inputs[0], &y = request.outputs[0];
  if (request.outputs.size() != 1) return nullptr;
  if (y.numel() == 0) return std::make_unique<Kernel>();
  const std::vector<bool> reduced = reduced_dims(*request.node, x.sizes().size());
  std::vector<int64_t> sizes[2], strides[2];
  ReduceParams params{};
  params.count = 1;
  for (size_t d = 0; d < reduced.size(); ++d) {
    sizes[reduced[d]].push_back(x.sizes()[d]);
    strides[reduced[d]].push_back(x.strides()[d]);
    if (reduced[d]) params.count *= x.sizes()[d];
  }
  constexpr int64_t kMostIndices = 0x7fffffff;
  if (name.starts_with("arg") && (params.count == 0 || params.count > kMostIndices)) return nullptr;
  const auto kept = walk_of(sizes[0], {strides[0]}), over = walk_of(sizes[1], {strides[1]});
  if (!kept || !over) return nullptr;
  params.kept = *kept;
  params.reduced = *over;
  params.scale = mean ? 1 / static_cast<double>(params.count) : 1;
  params.x = type_of(x.dtype);
  params.y = type_of(y.dtype);
  Launch launch;
  launch.function = functions.find(name);
  launch.grid[0] = static_cast<unsigned>(y.numel());
  launch.threads = threads_for(params.count);
  launch.operands = {input(0), output(0)};
  launch.params = bytes_of_params(params);
  return kernel_of({std::move(launch)});
}

std::unique_ptr<Kernel> make_sum(const Request& request, Functions& functions) {
  return reduce(request, functions,
                is_floating(request.outputs[0].dtype) ? "sum_real" : "sum_integer");
}
std::unique_ptr<Kernel> make_mean(const Request& request, Functions& functions) {
  return reduce(request, functions, "sum_real", true);
}
template <bool largest>
std::unique_ptr<Kernel> make_extremum(const Request& request, Functions& functions) {
  const std::string name = largest ? "amax" : "amin";
  return reduce(request, functions,
                name + (is_floating(request.outputs[0].dtype) ? "_real" : "_integer"));
}
template <bool largest>
std::unique_ptr<Kernel> make_arg(const Request& request, Functions& functions) {
  if (!is_floating(request.inputs[0]->dtype)) return nullptr;
  return reduce(request, functions, largest ? "argmax" : "argmin");
}
template <bool all>
std::unique_ptr<Kernel> make_any_or_all(const Request& request, Functions& functions) {
  return reduce(request, functions, all ? "all_real" : "any_real");
}

}  // namespace

Launch rms_norm_rows(Functions& functions, const NormedRows& norm, const TensorDesc& x, Use to) {
  const int64_t length = x.sizes()[1];
  NormParams params{};
  params.walk.dims = 1;
  params.walk.sizes[0] = x.sizes()[0];
  params.walk.strides[0][0] = x.strides()[0];
  params.length = length;
  params.inverse_length = 1 / static_cast<float>(length);
  params.eps = norm.eps;
  params.x = params.weight = params.y = type_of(x.dtype);
  Launch launch;
  launch.function = functions.find("rms_norm");
  launch.grid[0] = static_cast<unsigned>(x.sizes()[0]);
  launch.threads = threads_for(length);
  launch.operands = {norm.x, none(), norm.weight, none(), to, none(), none(), none()};
  launch.params = bytes_of_params(params);
  return launch;
}

void add_rows(KernelTable& table) {
  table["rms_norm"] = make_rms_norm;
  table["add_rms_norm"] = make_add_rms_norm;
  table["layer_norm"] = make_layer_norm;
  table["add_layer_norm"] = make_add_layer_norm;
  table["aten.native_layer_norm"] = make_native_layer_norm;
  table["aten._softmax"] = table["aten._log_softmax"] = make_softmax;
  table["aten.sum"] = table["aten.sum.dim_IntList"] = make_sum;
  table["aten.mean"] = table["aten.mean.dim"] = make_mean;
  table["aten.amax"] = table["aten.max"] = make_extremum<true>;
  table["aten.amin"] = table["aten.min"] = make_extremum<false>;
  table["aten.argmax"] = make_arg<true>;
  table["aten.argmin"] = make_arg<false>;
  table["aten.any"] = table["aten.any.dim"] = table["aten.any.dims"] = make_any_or_all<false>;
  table["aten.all"] = table["aten.all.dim"] = table["aten.all.dims"] = make_any_or_all<true>;
}

}  // namespace ostinato::cuda
