#include <algorithm>
#include <numeric>

#include "ostinato/base/dtype.h"
#include "ostinato/device/cpu/kernels/loops.h"
#include "ostinato/device/cpu/kernels/product.h"

namespace ostinato::cpu {

Offsets Offsets::over(const std::vector<int64_t>& sizes, const std::vector<int64_t>& strides) {
  std::vector<int64_t> all{0};
  for (size_t d = 0; d < sizes.size(); ++d) {
    std::vector<int64_t> finer;
    finer.reserve(all.size() * static_cast<size_t>(sizes[d]));
    for (int64_t begin : all) {
      for (int64_t i = 0; i < sizes[d]; ++i) finer.push_back(begin + i * strides[d]);
    }
    all = std::move(finer);
  }
  const int64_t stride = all.size() > 1 ? all[1] : 0;
  bool even = true;
  for (size_t i = 0; i < all.size(); ++i) even = even && all[i] == static_cast<int64_t>(i) * stride;
  Offsets result(stride);
  if (!even) result.table_ = std::move(all);
  return result;
}

namespace {

int64_t product_of(const std::vector<int64_t>& sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), int64_t{1}, std::multiplies<>());
}

// The strides of batch…, rows… and the rest, taken apart.
ProductSpec::Operand operand_of(size_t index, const ProductDims& dims,
                                const std::vector<int64_t>& strides) {
  const auto rows = strides.begin() + static_cast<ptrdiff_t>(dims.batch.size());
  const auto column = rows + static_cast<ptrdiff_t>(dims.rows.size());
  return {index, Offsets::over(dims.batch, {strides.begin(), rows}),
          Offsets::over(dims.rows, {rows, column}), *column};
}

}  // namespace

bool multiplies(const device::Request& request) {
  const DType dtype = request.outputs[0].dtype;
  return is_floating(dtype) &&
         std::all_of(request.inputs.begin(), request.inputs.end(),
                     [&](const auto& input) { return !input || input->dtype == dtype; });
}

ProductSpec product_spec(const device::Request& request, ProductDims dims,
                         std::optional<size_t> bias, std::optional<size_t> residual) {
  if (dims.inner == 0) {  // empty operands may have no memory to step through
    std::fill(dims.a_strides.begin(), dims.a_strides.end(), 0);
    std::fill(dims.b_strides.begin(), dims.b_strides.end(), 0);
  }
  const size_t batch_rank = dims.batch.size();
  const bool shared = std::all_of(dims.b_strides.begin(),
                                  dims.b_strides.begin() + static_cast<ptrdiff_t>(batch_rank),
                                  [](int64_t stride) { return stride == 0; });
  if (shared) {
    dims.rows.insert(dims.rows.begin(), dims.batch.begin(), dims.batch.end());
    dims.batch.clear();
    dims.b_strides.erase(dims.b_strides.begin(),
                         dims.b_strides.begin() + static_cast<ptrdiff_t>(batch_rank));
  }
  ProductSpec spec;
  spec.dtype = request.outputs[0].dtype;
  spec.batch = product_of(dims.batch);
  spec.rows = product_of(dims.rows);
  spec.inner = dims.inner;
  spec.a = operand_of(dims.a, dims, dims.a_strides);
  const size_t rank = dims.batch.size();
  ProductSpec::Part part;
  part.columns = dims.columns;
  part.b = {dims.b,
            Offsets::over(dims.batch, {dims.b_strides.begin(),
                                       dims.b_strides.begin() + static_cast<ptrdiff_t>(rank)}),
            Offsets(dims.b_strides[rank]), dims.b_strides[rank + 1]};
  std::vector<int64_t> sizes = dims.batch;
  sizes.insert(sizes.end(), dims.rows.begin(), dims.rows.end());
  sizes.push_back(dims.columns);
  const auto addend = [&](std::optional<size_t> index) -> std::optional<ProductSpec::Operand> {
    if (!index || !request.inputs[*index]) return std::nullopt;
    return operand_of(*index, dims, broadcast_strides(*request.inputs[*index], sizes));
  };
  part.bias = addend(bias);
  spec.parts = {std::move(part)};
  spec.residual = addend(residual);
  return spec;
}

}  // namespace ostinato::cpu
