#include "ostinato/device/cuda/product.h"

#include "ostinato/base/error.h"
#include "ostinato/device/cuda/factories.h"
#include "ostinato/device/cuda/few_rows.h"
#include "ostinato/device/cuda/launches.h"

/// Matrix products, and triangular systems.
namespace ostinato::cuda {

using device::Request;
using device::TensorDesc;

namespace {

using Dims = std::vector<int64_t>;

/// The product as the kernel for few rows takes it; nothing where it does not.
std::optional<FewRows> few_rows_of(const Product& product, const TensorDesc& a,
                                   const TensorDesc& b) {
  const ProductParams& p = product.params;
  if (product.matrices != 1 || p.a_depth != 1 || a.dtype != b.dtype) return std::nullopt;
  FewRows few;
  few.dtype = b.dtype;
  few.x = product.operands[0];
  few.added = product.operands[3];
  FewRowsParams& params = few.params;
  params.rows = p.rows;
  params.depth = p.depth;
  params.x_row = p.a_row;
  params.added_row = p.added_row;
  params.added_column = p.added_column;
  params.alpha = p.alpha;
  params.beta = p.beta;
  params.activation = p.activation;
  params.added = p.added;
  params.y = p.y;
  if (!add_weight(few, product)) return std::nullopt;
  return few;
}

/// The dims before the last two, and their strides where the operand is broadcast to `batch`.
Dims batch_of(const Dims& sizes) {
  return sizes.size() < 2 ? Dims() : Dims(sizes.begin(), sizes.end() - 2);
}

Dims batch_strides(const TensorDesc& tensor, const Dims& batch) {
  if (tensor.sizes().size() < 2) return Dims(batch.size(), 0);
  return broadcast_strides(part(tensor.dtype, batch_of(tensor.sizes()), batch_of(tensor.strides())),
                           batch);
}

struct Plane {
  int64_t rows = 1, columns = 1, row_stride = 0, column_stride = 0;
};

/// The last two dims. Of a vector: one row, or one column.
Plane plane_of(const TensorDesc& tensor, bool vector_is_column = false) {
  const Dims &sizes = tensor.sizes(), &strides = tensor.strides();
  const size_t rank = sizes.size();
  if (rank == 1 && vector_is_column) return {sizes[0], 1, strides[0], 0};
  if (rank == 1) return {1, sizes[0], 0, strides[0]};
  return {sizes[rank - 2], sizes[rank - 1], strides[rank - 2], strides[rank - 1]};
}

}  // namespace

std::optional<Product> product_of(const TensorDesc& a, size_t a_index, const TensorDesc& b,
                                  size_t b_index, const TensorDesc& y, bool b_is_transposed) {
  if (!is_floating(a.dtype) || !is_floating(b.dtype)) return std::nullopt;
  Product product;
  ProductParams& params = product.params;
  const Plane left = plane_of(a);
  Plane right = plane_of(b, true);
  if (b_is_transposed) {
    std::swap(right.rows, right.columns);
    std::swap(right.row_stride, right.column_stride);
  }
  params.rows = left.rows;
  params.depth = left.columns;
  params.columns = right.columns;
  params.a_row = left.row_stride;
  params.a_depth = left.column_stride;
  params.b_depth = right.row_stride;
  params.b_column = right.column_stride;
  params.y_row = params.columns;
  params.y_column = 1;
  params.y_batch_stride = params.rows * params.columns;
  Dims batch = batch_of(a.sizes());
  const Dims other = batch_of(b.sizes());
  if (other.size() > batch.size()) batch.insert(batch.begin(), other.size() - batch.size(), 1);
  for (size_t i = 0; i < other.size(); ++i) {
    int64_t& size = batch[batch.size() - other.size() + i];
    if (size == 1) size = other[i];
  }
  for (const int64_t size : batch) product.matrices *= size;
  const auto walk =
      walk_of(batch, {batch_strides(a, batch), batch_strides(b, batch), Dims(batch.size(), 0)});
  if (!walk) return std::nullopt;
  params.batch = *walk;
  params.alpha = params.beta = 1;
  params.a = type_of(a.dtype);
  params.b = type_of(b.dtype);
  params.y = type_of(y.dtype);
  product.operands = {input(a_index), input(b_index), none(), none(), output()};
  return product;
}

std::unique_ptr<Kernel> launch_product(Functions& functions, device::PackedWeights& choices,
                                       const Product& product, const TensorDesc& a,
                                       const TensorDesc& b, size_t scratch_used) {
  constexpr unsigned kThreads = 256, kTile = 64;
  const ProductParams& params = product.params;
  auto kernel = std::make_unique<Kernel>();
  kernel->scratch = scratch_used;
  if (params.rows * params.columns * product.matrices == 0) return kernel;
  if (const auto few = few_rows_of(product, a, b)) {
    kernel->work.push_back({launch_few_rows(functions, *few), nullptr});
    return kernel;
  }
  if (auto library = blas_product(functions, choices, product, scratch_used)) {
    return std::make_unique<Kernel>(std::move(*library));
  }
  const auto blocks = [](int64_t size, unsigned each) {
    return static_cast<unsigned>((size + each - 1) / each);
  };
  constexpr int64_t kMostBlocks = 65535;  // along the two slower dims of a grid
  if (blocks(params.rows, kTile) > kMostBlocks || product.matrices > kMostBlocks) return nullptr;
  Launch launch;
  launch.threads = kThreads;
  launch.function = functions.find("product");
  launch.grid[0] = blocks(params.columns, kTile);
  launch.grid[1] = blocks(params.rows, kTile);
  launch.grid[2] = static_cast<unsigned>(product.matrices);
  launch.operands = product.operands;
  launch.params = bytes_of_params(params);
  kernel->work.push_back({std::move(launch), nullptr});
  return kernel;
}

std::optional<TensorDesc> as_rows(const TensorDesc& x) {
  if (x.sizes().empty()) return std::nullopt;
  const Dims rows(x.sizes().begin(), x.sizes().end() - 1);
  const Dims row_strides(x.strides().begin(), x.strides().end() - 1);
  const auto walk = walk_of(rows, {row_strides});
  if (!walk || walk->dims != 1) return std::nullopt;
  return part(x.dtype, {walk->sizes[0], x.sizes().back()},
              {walk->strides[0][0], x.strides().back()});
}

std::optional<Product> linear_product(const Request& request, const TensorDesc& rows, size_t weight,
                                      std::optional<size_t> bias, const TensorDesc& y) {
  if (request.inputs[weight]->sizes().size() != 2) return std::nullopt;
  auto product = product_of(rows, 0, *request.inputs[weight], weight, y, true);
  if (product) product->b_is_constant = request.is_constant(weight);
  if (!product || !bias || !request.inputs[*bias]) return product;
  const TensorDesc& added = *request.inputs[*bias];
  if (!is_floating(added.dtype)) return std::nullopt;
  product->operands[2] = input(*bias);
  product->params.bias = type_of(added.dtype);
  product->params.bias_column = added.strides()[0];
  return product;
}

namespace {

std::unique_ptr<Kernel> make_matmul(const Request& request, Functions& functions) {
  const TensorDesc &a = *request.inputs[0], &b = *request.inputs[1];
  const auto product = product_of(a, 0, b, 1, request.outputs[0], false);
  return product ? launch_product(functions, *request.packed, *product, a, b) : nullptr;
}

/// beta·self + alpha·(a·b)
std::unique_ptr<Kernel> make_add_product(const Request& request, Functions& functions) {
  const TensorDesc &self = *request.inputs[0], &a = *request.inputs[1], &b = *request.inputs[2];
  const TensorDesc& y = request.outputs[0];
  auto product = product_of(a, 1, b, 2, y, false);
  if (!product || !is_floating(self.dtype)) return nullptr;
  ProductParams& params = product->params;
  params.alpha = static_cast<float>(request.node->real("alpha"));
  params.beta = static_cast<float>(request.node->real("beta"));
  params.added = type_of(self.dtype);
  const Dims strides = broadcast_strides(self, y.sizes());
  params.added_row = strides[strides.size() - 2];
  params.added_column = strides.back();
  const Dims batch = batch_of(y.sizes());
  const auto walk =
      walk_of(batch, {batch_strides(a, batch), batch_strides(b, batch), batch_of(strides)});
  if (!walk) return nullptr;
  params.batch = *walk;
  if (params.beta != 0) product->operands[3] = input(0);  // else not even its NaNs count
  return launch_product(functions, *request.packed, *product, a, b);
}

/// x · weightᵀ + bias, and for the fused operator its activation and residual.
std::unique_ptr<Kernel> make_linear(const Request& request, Functions& functions) {
  const TensorDesc& y = request.outputs[0];
  const bool fused = request.node->op->name == "linear";
  const auto rows = as_rows(*request.inputs[0]);
  if (!rows) return nullptr;
  const auto bias = request.inputs.size() > 2 ? std::optional<size_t>(2) : std::nullopt;
  auto product = linear_product(request, *rows, 1, bias, y);
  if (!product) return nullptr;
  if (fused && request.inputs[3]) {
    const TensorDesc& residual = *request.inputs[3];
    if (!is_floating(residual.dtype) || !residual.layout.is_contiguous() ||
        residual.sizes() != y.sizes()) {
      return nullptr;
    }
    product->operands[3] = input(3);
    product->params.added = type_of(residual.dtype);
    product->params.added_row = product->params.y_row;
    product->params.added_column = 1;
  }
  if (fused) product->params.activation = ops::activation_of(*request.node);
  return launch_product(functions, *request.packed, *product, *rows, *request.inputs[1]);
}

/// Runs of rows by a matrix each, as in mixtures of experts.
std::unique_ptr<Kernel> make_grouped(const Request& request, Functions& functions) {
  const TensorDesc &a = *request.inputs[0], &b = *request.inputs[1], &ends = *request.inputs[2];
  const TensorDesc& y = request.outputs[0];
  if (y.numel() == 0) return std::make_unique<Kernel>();
  constexpr int64_t kTile = 64, kMostTiles = 65535;  // along the two slower dims of a grid
  GroupedParams params{};
  params.rows = a.sizes()[0];
  params.columns = y.sizes()[1];
  params.depth = a.sizes()[1];
  params.groups = b.sizes()[0];
  params.a_row = a.strides()[0];
  params.a_depth = a.strides()[1];
  params.b_group = b.strides()[0];
  params.b_depth = b.strides()[1];
  params.b_column = b.strides()[2];
  params.ends_stride = ends.strides()[0];
  params.a = type_of(a.dtype);
  params.b = type_of(b.dtype);
  params.ends = type_of(ends.dtype);
  const int64_t tiles = (params.rows + kTile - 1) / kTile;
  if (tiles > kMostTiles || params.groups >= kMostTiles) return nullptr;
  Launch launch = over_blocks(functions, "grouped_product", (params.columns + kTile - 1) / kTile,
                              256, {input(0), input(1), input(2), output()}, params);
  launch.grid[1] = static_cast<unsigned>(tiles);
  launch.grid[2] = static_cast<unsigned>(params.groups + 1);
  return kernel_of({std::move(launch)});
}

/// self·x = B, or x·self = B, which is the same with everything transposed.
std::unique_ptr<Kernel> make_triangular(const Request& request, Functions& functions) {
  const TensorDesc &a = *request.inputs[0], &b = *request.inputs[1], &x = request.outputs[0];
  if (x.numel() == 0) return std::make_unique<Kernel>();
  Plane triangle = plane_of(a), from = plane_of(b), to = plane_of(x);
  const bool left = request.node->flag("left");
  if (!left) {
    for (Plane* plane : {&triangle, &from, &to}) {
      std::swap(plane->rows, plane->columns);
      std::swap(plane->row_stride, plane->column_stride);
    }
  }
  const Dims batch = batch_of(x.sizes());
  const auto walk =
      walk_of(batch, {batch_strides(a, batch), batch_strides(b, batch), batch_strides(x, batch)});
  if (!walk) return nullptr;
  TriangularParams params{};
  params.batch = *walk;
  params.size = to.rows;
  params.columns = to.columns;
  params.matrices = x.numel() / (to.rows * to.columns);
  params.a_row = triangle.row_stride;
  params.a_column = triangle.column_stride;
  params.b_row = from.row_stride;
  params.b_column = from.column_stride;
  params.x_row = to.row_stride;
  params.x_column = to.column_stride;
  params.upper = request.node->flag("upper") == left ? 1 : 0;
  params.unit = request.node->flag("unitriangular") ? 1 : 0;
  params.type = type_of(x.dtype);
  return kernel_of({over_elements(functions, "triangular", params.matrices * params.columns,
                                  {input(0), input(1), scratch(), output()}, params)},
                   static_cast<size_t>(x.numel()) * sizeof(float));
}

}  // namespace

void add_product(KernelTable& table) {
  for (const std::string_view op : {"aten.mm", "aten.bmm", "aten.matmul", "aten.dot", "aten.mv"}) {
    table[op] = make_matmul;
  }
  table["aten.addmm"] = table["aten.baddbmm"] = make_add_product;
  table["transformers.grouped_mm_fallback"] = make_grouped;
  table["aten.linalg_solve_triangular"] = make_triangular;
  table["aten.linear"] = table["linear"] = make_linear;
}

}  // namespace ostinato::cuda
