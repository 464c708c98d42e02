#include <algorithm>

#include "ostinato/device/cuda/elementwise.h"
#include "ostinato/device/cuda/factories.h"
#include "ostinato/device/cuda/few_rows.h"
#include "ostinato/device/cuda/rows.h"

/// Products of one operand with several weights, perhaps after its RMSNorm: one launch where the
/// rows are few, otherwise a launch of each.
namespace ostinato::cuda {

using device::Request;
using device::TensorDesc;

namespace {

Use input(size_t index) { return {Use::Of::input, index, 0}; }
Use scratch(size_t offset) { return {Use::Of::scratch, 0, offset}; }

size_t aligned(size_t bytes) { return (bytes + 255) / 256 * 256; }

/// The products of a call, and the norm before them.
struct Products {
  TensorDesc rows;  // of x
  std::optional<NormedRows> norm;
  std::vector<Product> products;
  std::vector<const TensorDesc*> weights;
};

/// x of the call as rows, and its norm if the operator has one.
std::optional<Products> products_of(const Request& request, bool normed) {
  const auto rows = as_rows(*request.inputs[0]);
  if (!rows) return std::nullopt;
  Products made{*rows, {}, {}, {}};
  if (!normed) return made;
  if (rows->strides()[1] != 1 && rows->sizes()[1] != 1) return std::nullopt;
  made.norm =
      NormedRows{input(0), {Use::Of::none, 0, 0}, static_cast<float>(request.node->real("eps"))};
  if (const auto& weight = request.inputs[1]) {
    if (weight->dtype != rows->dtype || !weight->layout.is_contiguous()) return std::nullopt;
    made.norm->weight = input(1);
  }
  return made;
}

bool add(Products& products, const Request& request, size_t weight, size_t bias,
         const TensorDesc& y, Use to) {
  auto product = linear_product(request, products.rows, weight, bias, y);
  if (!product || !request.inputs[weight]) return false;
  product->operands[4] = to;
  products.products.push_back(std::move(*product));
  products.weights.push_back(&*request.inputs[weight]);
  return true;
}

/// One launch of all, where the kernel for few rows takes them.
std::optional<FewRows> few_rows_of(const Products& all) {
  const ProductParams& first = all.products[0].params;
  FewRows few;
  few.dtype = all.rows.dtype;
  few.x = input(0);
  few.params.rows = first.rows;
  few.params.depth = first.depth;
  few.params.x_row = first.a_row;
  few.params.alpha = few.params.beta = 1;
  few.params.y = first.y;
  for (const Product& product : all.products) {
    if (product.params.a_depth != 1 || !add_weight(few, product)) return std::nullopt;
  }
  if (!all.norm) return few;
  few.normed = true;
  few.norm_weight = all.norm->weight;
  few.params.eps = all.norm->eps;
  return has_room_for_norm(few) ? std::optional(few) : std::nullopt;
}

/// The norm to the scratch, then a product after the other.
std::unique_ptr<Kernel> one_by_one(Functions& functions, device::PackedWeights& choices,
                                   Products& all, size_t scratch_used) {
  auto kernel = std::make_unique<Kernel>();
  TensorDesc rows = all.rows;
  if (all.norm) {
    const int64_t depth = rows.sizes()[1];
    const Use normed = scratch(scratch_used);
    kernel->work.push_back({rms_norm_rows(functions, *all.norm, rows, normed), nullptr});
    rows = part(rows.dtype, rows.sizes(), {depth, 1});
    scratch_used = aligned(scratch_used + rows.bytes());
    for (Product& product : all.products) {
      product.operands[0] = normed;
      product.params.a_row = depth;
      product.params.a_depth = 1;
    }
  }
  kernel->scratch = scratch_used;
  for (size_t i = 0; i < all.products.size(); ++i) {
    const auto made =
        launch_product(functions, choices, all.products[i], rows, *all.weights[i], scratch_used);
    if (made == nullptr) return nullptr;
    kernel->work.insert(kernel->work.end(), made->work.begin(), made->work.end());
    kernel->scratch = std::max(kernel->scratch, made->scratch);
  }
  return kernel;
}

template <bool normed>
std::unique_ptr<Kernel> make_linears(const Request& request, Functions& functions) {
  auto all = products_of(request, normed);
  if (!all) return nullptr;
  for (size_t i = normed ? 2 : 1, result = 0; i + 1 < request.inputs.size(); i += 2, ++result) {
    if (!add(*all, request, i, i + 1, request.outputs[result], {Use::Of::output, result, 0})) {
      return nullptr;
    }
  }
  if (all->rows.sizes()[0] == 0) return std::make_unique<Kernel>();
  if (const auto few = few_rows_of(*all)) {
    auto kernel = std::make_unique<Kernel>();
    kernel->work.push_back({launch_few_rows(functions, *few), nullptr});
    return kernel;
  }
  return one_by_one(functions, *request.packed, *all, 0);
}

/// activation(x·gate_weightᵀ + gate_bias) · (x·up_weightᵀ + up_bias)
template <bool normed>
std::unique_ptr<Kernel> make_gated_linear(const Request& request, Functions& functions) {
  const TensorDesc& y = request.outputs[0];
  const size_t first = normed ? 2 : 1;
  auto all = products_of(request, normed);
  if (!all) return nullptr;
  const size_t bytes = aligned(static_cast<size_t>(y.numel()) * sizeof(float));
  const Use none{Use::Of::none, 0, 0};
  if (!add(*all, request, first, first + 2, y, none) ||
      !add(*all, request, first + 1, first + 3, y, none)) {
    return nullptr;
  }
  if (y.numel() == 0) return std::make_unique<Kernel>();
  const Activation activation = ops::activation_of(*request.node);
  const Use output{Use::Of::output, 0, 0};
  if (auto few = few_rows_of(*all)) {
    few->gated = true;
    few->params.activation = activation;
    few->weights[2] = output;
    auto kernel = std::make_unique<Kernel>();
    kernel->work.push_back({launch_few_rows(functions, *few), nullptr});
    return kernel;
  }
  // Sums in float32, to be rounded but once.
  GateParams params{};
  params.count = y.numel();
  params.columns = y.sizes().back();
  params.activation = activation;
  params.y = type_of(y.dtype);
  std::vector<Use> biases;
  for (const size_t i : {0, 1}) {
    Product& product = all->products[i];
    (i == 0 ? params.gate_bias : params.up_bias) = product.params.bias;
    (i == 0 ? params.gate_stride : params.up_stride) = product.params.bias_column;
    biases.push_back(std::exchange(product.operands[2], {Use::Of::none, 0, 0}));
    product.params.y = Type::float32;
    product.operands[4] = scratch(i * bytes);
  }
  auto kernel = one_by_one(functions, *request.packed, *all, 2 * bytes);
  if (kernel == nullptr) return nullptr;
  Launch gate;
  gate.function = functions.find("gate");
  gate.threads = 256;
  gate.grid[0] = blocks_for(y.numel(), gate.threads, functions);
  gate.operands = {scratch(0), scratch(bytes), biases[0], biases[1], output};
  gate.params = bytes_of_params(params);
  kernel->work.push_back({std::move(gate), nullptr});
  return kernel;
}

}  // namespace

void add_linears(KernelTable& table) {
  table["linears"] = make_linears<false>;
  table["gated_linear"] = make_gated_linear<false>;
  table["norm_linears"] = make_linears<true>;
  table["norm_gated_linear"] = make_gated_linear<true>;
}

}  // namespace ostinato::cuda
