#include "ostinato/device/cpu/kernels/kernels.h"
#include "ostinato/device/cpu/kernels/loops.h"
#include "ostinato/device/cpu/kernels/product.h"

namespace ostinato::cpu {

namespace {

using device::Request;
using device::TensorDesc;

std::vector<int64_t> joined(std::vector<int64_t> dims, std::initializer_list<int64_t> last) {
  dims.insert(dims.end(), last);
  return dims;
}

// By NumPy's rules: a vector is a row on the left and a column on the right, leading dims
// broadcast.
ProductDims matmul_dims(const Request& request, size_t left, size_t right) {
  const TensorDesc &a = *request.inputs[left], &b = *request.inputs[right];
  const bool row = a.sizes().size() == 1, column = b.sizes().size() == 1;
  ProductDims dims;
  dims.a = left;
  dims.b = right;
  dims.batch = request.outputs[0].sizes();
  dims.batch.resize(dims.batch.size() - (row ? 0 : 1) - (column ? 0 : 1));
  dims.inner = a.sizes().back();
  dims.columns = column ? 1 : b.sizes().back();
  if (!row) dims.rows = {a.sizes()[a.sizes().size() - 2]};
  std::vector<int64_t> a_sizes = dims.batch;
  a_sizes.insert(a_sizes.end(), dims.rows.begin(), dims.rows.end());
  dims.a_strides = broadcast_strides(a, joined(a_sizes, {dims.inner}));
  if (column) {
    dims.b_strides = joined(broadcast_strides(b, joined(dims.batch, {dims.inner})), {0});
  } else {
    dims.b_strides = broadcast_strides(b, joined(dims.batch, {dims.inner, dims.columns}));
  }
  return dims;
}

std::unique_ptr<Kernel> make_matmul(const Request& request) {
  if (!multiplies(request)) return nullptr;
  return make_product(request, product_spec(request, matmul_dims(request, 0, 1)));
}

// beta · self + alpha · (left · right)
std::unique_ptr<Kernel> make_addmm(const Request& request) {
  if (!multiplies(request)) return nullptr;
  const double beta = request.node->real("beta");
  std::optional<size_t> bias;
  if (beta != 0) bias = 0;  // then even NaNs in it do not count
  ProductSpec spec = product_spec(request, matmul_dims(request, 1, 2), bias);
  spec.alpha = static_cast<float>(request.node->real("alpha"));
  spec.beta = static_cast<float>(beta);
  return make_product(request, std::move(spec));
}

// A run of rows of `input` for each matrix of `weight`; `offs` says where each run ends.
std::unique_ptr<Kernel> make_grouped(const Request& request) {
  const TensorDesc &input = *request.inputs[0], &weight = *request.inputs[1];
  const TensorDesc& offs = *request.inputs[2];
  if (!offs.layout.is_contiguous()) return nullptr;
  const std::vector<int64_t> a = broadcast_strides(input, input.sizes());
  const std::vector<int64_t> b = broadcast_strides(weight, weight.sizes());
  ProductSpec spec;
  spec.dtype = input.dtype;
  spec.batch = weight.sizes()[0];
  spec.rows = input.sizes()[0];
  spec.inner = input.sizes()[1];
  spec.a = {0, Offsets(), Offsets(a[0]), a[1]};
  spec.parts = {{.b = {1, Offsets(b[0]), Offsets(b[1]), b[2]},
                 .bias = std::nullopt,
                 .columns = weight.sizes()[2]}};
  spec.ends = 2;
  spec.ends_dtype = offs.dtype;
  return make_product(request, std::move(spec));
}

}  // namespace

void add_matmul(KernelTable& table) {
  for (const std::string_view op : {"aten.mm", "aten.bmm", "aten.matmul", "aten.dot", "aten.mv"}) {
    table.add(op, device::Tier::fast, make_matmul);
  }
  table.add("aten.addmm", device::Tier::fast, make_addmm);
  table.add("aten.baddbmm", device::Tier::fast, make_addmm);
  table.add("transformers.grouped_mm_fallback", device::Tier::fast, make_grouped);
}

}  // namespace ostinato::cpu
