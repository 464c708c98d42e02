#include "ostinato/device/cpu/reference/product.h"

namespace ostinato::cpu::reference {

namespace {

// x · weightᵀ + bias
void linear(const Call& call) {
  const View &x = call.inputs[0], &weight = call.inputs[1], &bias = call.inputs[2];
  const View& y = call.outputs[0];
  const std::vector<int64_t> batch(
      x.sizes().begin(), x.sizes().end() - static_cast<ptrdiff_t>(std::min<size_t>(x.rank(), 2)));
  const Matrix left = Matrix::of(x, batch), right = Matrix::of(weight, batch).transposed();
  const Matrix to = Matrix::of(y, batch);
  const ProductSizes sizes{static_cast<int64_t>(left.offsets.size()),
                           x.rank() > 1 ? x.size(x.rank() - 2) : 1, weight.size(1), weight.size(0)};
  multiply(sizes, call.worker, left, right,
           [&](int64_t n, int64_t row, int64_t column, int64_t count, const float* sums) {
             const int64_t first = to.offsets[static_cast<size_t>(n)] + row * to.row_stride;
             for (int64_t j = 0; j < count; ++j) {
               const float added = bias ? bias.get((column + j) * bias.strides()[0]) : 0.0f;
               y.set(first + (column + j) * to.column_stride, sums[j] + added);
             }
           });
}

}  // namespace

void add_linear(KernelTable& table) {
  table.add("aten.linear", device::Tier::reference, make<linear, true>);
}

}  // namespace ostinato::cpu::reference
