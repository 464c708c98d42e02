#include "ostinato/device/cpu/kernels/kernels.h"
#include "ostinato/device/cpu/kernels/loops.h"
#include "ostinato/device/cpu/kernels/product.h"

namespace ostinato::cpu {

namespace {

Activation activation_of(std::string_view name) {
  if (name == "relu") return Activation::relu;
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_tanh") return Activation::gelu_tanh;
  if (name == "silu") return Activation::silu;
  return Activation::none;
}

// input (..., in), weight (out, in), bias (out)
ProductSpec linear_spec(const device::Request& request, std::optional<size_t> residual) {
  const device::TensorDesc &input = *request.inputs[0], &weight = *request.inputs[1];
  ProductDims dims;
  dims.rows = input.sizes();
  dims.rows.pop_back();
  dims.inner = weight.sizes()[1];
  dims.columns = weight.sizes()[0];
  dims.a_strides = byte_strides(input);
  const Strides strides = byte_strides(weight);
  dims.b_strides = {strides[1], strides[0]};
  return product_spec(request, std::move(dims), 2, residual);
}

std::unique_ptr<Kernel> make_aten_linear(const device::Request& request) {
  if (!multiplies(request)) return nullptr;
  return make_product(request, linear_spec(request, std::nullopt));
}

std::unique_ptr<Kernel> make_linear(const device::Request& request) {
  if (!multiplies(request)) return nullptr;
  ProductSpec spec = linear_spec(request, 3);
  spec.activation = activation_of(request.node->string("activation"));
  return make_product(request, std::move(spec));
}

}  // namespace

void add_linear(KernelTable& table) {
  table.add("aten.linear", device::Tier::fast, make_aten_linear);
  table.add("linear", device::Tier::fast, make_linear);
}

}  // namespace ostinato::cpu
