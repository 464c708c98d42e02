#include "ostinato/device/cpu/kernels/kernels.h"
#include "ostinato/device/cpu/kernels/loops.h"
#include "ostinato/device/cpu/kernels/product.h"

namespace ostinato::cpu {

namespace {

// input (..., in), weight (out, in), bias (out): operand 0 and those of these indices
ProductSpec linear_spec(const device::Request& request, size_t weight, size_t bias,
                        std::optional<size_t> residual = {}) {
  const device::TensorDesc &input = *request.inputs[0], &matrix = *request.inputs[weight];
  ProductDims dims;
  dims.b = weight;
  dims.rows = input.sizes();
  dims.rows.pop_back();
  dims.inner = matrix.sizes()[1];
  dims.columns = matrix.sizes()[0];
  dims.a_strides = byte_strides(input);
  const Strides strides = byte_strides(matrix);
  dims.b_strides = {strides[1], strides[0]};
  return product_spec(request, std::move(dims), bias, residual);
}

std::unique_ptr<Kernel> make_aten_linear(const device::Request& request) {
  if (!multiplies(request)) return nullptr;
  return make_product(request, linear_spec(request, 1, 2));
}

std::unique_ptr<Kernel> make_linear(const device::Request& request) {
  if (!multiplies(request)) return nullptr;
  ProductSpec spec = linear_spec(request, 1, 2, 3);
  spec.activation = ops::activation_of(*request.node);
  return make_product(request, std::move(spec));
}

std::unique_ptr<Kernel> make_linears(const device::Request& request) {
  if (!multiplies(request)) return nullptr;
  ProductSpec spec = linear_spec(request, 1, 2);
  for (size_t output = 1; output < request.outputs.size(); ++output) {
    const size_t weight = 1 + 2 * output;
    spec.parts.push_back(linear_spec(request, weight, weight + 1).parts[0]);
    spec.parts.back().output = output;
  }
  return make_product(request, std::move(spec));
}

std::unique_ptr<Kernel> make_gated_linear(const device::Request& request) {
  if (!multiplies(request)) return nullptr;
  ProductSpec spec = linear_spec(request, 1, 3);
  spec.parts.push_back(linear_spec(request, 2, 4).parts[0]);
  spec.activation = ops::activation_of(*request.node);
  spec.gated = true;
  return make_product(request, std::move(spec));
}

}  // namespace

void add_linear(KernelTable& table) {
  table.add("aten.linear", device::Tier::fast, make_aten_linear);
  table.add("linear", device::Tier::fast, make_linear);
  table.add("linears", device::Tier::fast, make_linears);
  table.add("gated_linear", device::Tier::fast, make_gated_linear);
}

}  // namespace ostinato::cpu
