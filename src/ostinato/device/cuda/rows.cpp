#include "ostinato/device/cuda/rows.h"

#include <algorithm>

#include "ostinato/device/cuda/factories.h"
#include "ostinato/device/cuda/launches.h"

/// Norms and softmax.
namespace ostinato::cuda {

using device::Request;
using device::TensorDesc;

namespace {

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
  return kernel_of(
      {over_blocks(functions, name, rows, threads_for(length), std::move(operands), params)});
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

/// Operands that a block or thread reads by channel.
bool lie_side_by_side(const Request& request, size_t first) {
  return std::all_of(request.inputs.begin() + static_cast<std::ptrdiff_t>(first),
                     request.inputs.end(), [](const std::optional<TensorDesc>& operand) {
                       return !operand || operand->layout.is_contiguous();
                     });
}

Type type_or_float(const std::optional<TensorDesc>& operand) {
  return operand ? type_of(operand->dtype) : Type::float32;
}

std::unique_ptr<Kernel> make_group_norm(const Request& request, Functions& functions) {
  const TensorDesc& x = *request.inputs[0];
  const int64_t groups = request.outputs[1].numel();
  if (!lie_side_by_side(request, 0)) return nullptr;
  if (groups == 0) return std::make_unique<Kernel>();
  GroupNormParams params{};
  params.length = x.numel() / groups;
  params.plane = std::max<int64_t>(request.node->integer("HxW"), 1);
  params.channels = std::max<int64_t>(request.node->integer("C"), 1);
  params.eps = static_cast<float>(request.node->real("eps"));
  params.x = type_of(x.dtype);
  params.weight = type_or_float(request.inputs[1]);
  params.bias = type_or_float(request.inputs[2]);
  return kernel_of({over_blocks(functions, "group_norm", groups, threads_for(params.length),
                                {input(0), input_or_none(request, 1), input_or_none(request, 2),
                                 output(0), output(1), output(2)},
                                params)});
}

std::unique_ptr<Kernel> make_batch_norm(const Request& request, Functions& functions) {
  const TensorDesc& x = *request.inputs[0];
  if (x.numel() == 0) return std::make_unique<Kernel>();
  const auto walk = walk_of(x.sizes(), {x.strides()});
  if (!walk || !lie_side_by_side(request, 1)) return nullptr;
  BatchNormParams params{};
  params.walk = *walk;
  params.count = x.numel();
  params.channels = x.sizes()[1];
  params.plane = x.numel() / (x.sizes()[0] * x.sizes()[1]);
  params.eps = static_cast<float>(request.node->real("eps"));
  std::vector<Use> operands;
  for (size_t i = 0; i < 5; ++i) {
    params.types[i] = type_or_float(request.inputs[i]);
    operands.push_back(input_or_none(request, i));
  }
  operands.push_back(output());
  return kernel_of({over_elements(functions, "batch_norm", params.count, operands, params)});
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
  return over_blocks(functions, "rms_norm", x.sizes()[0], threads_for(length),
                     {norm.x, none(), norm.weight, none(), to, none(), none(), none()}, params);
}

void add_rows(KernelTable& table) {
  table["rms_norm"] = make_rms_norm;
  table["add_rms_norm"] = make_add_rms_norm;
  table["layer_norm"] = make_layer_norm;
  table["add_layer_norm"] = make_add_layer_norm;
  table["aten.native_layer_norm"] = make_native_layer_norm;
  table["aten._softmax"] = table["aten._log_softmax"] = make_softmax;
  table["aten.native_group_norm"] = make_group_norm;
  table["aten._native_batch_norm_legit_no_training"] = make_batch_norm;
}

}  // namespace ostinato::cuda
