#include "ostinato/device/cpu/reference/copy.h"
#include "ostinato/device/cpu/reference/product.h"

namespace ostinato::cpu::reference {

namespace {

double number(const ir::Attribute& value) {
  if (const double* real = std::get_if<double>(&value)) return *real;
  if (const ir::Dim* integer = std::get_if<ir::Dim>(&value)) {
    return static_cast<double>(integer->value());
  }
  return std::get<bool>(value) ? 1 : 0;
}

// mm and bmm
void product(const Call& call) {
  const View &a = call.inputs[0], &b = call.inputs[1], &y = call.outputs[0];
  const size_t rank = y.rank();
  const std::vector<int64_t> batch(y.sizes().begin(), y.sizes().end() - 2);
  const Matrix to = Matrix::of(y, batch);
  const ProductSizes sizes{static_cast<int64_t>(to.offsets.size()), y.size(rank - 2),
                           a.size(rank - 1), y.size(rank - 1)};
  multiply(sizes, call.worker, Matrix::of(a, batch), Matrix::of(b, batch),
           [&](int64_t n, int64_t row, int64_t column, int64_t count, const float* sums) {
             y.set_run(to.offsets[static_cast<size_t>(n)] + row * to.row_stride +
                           column * to.column_stride,
                       to.column_stride, count, sums);
           });
}

// addmm and baddbmm: beta * self + alpha * (a · b), without self where beta is zero
void add_product(const Call& call) {
  const View &self = call.inputs[0], &a = call.inputs[1], &b = call.inputs[2];
  const View& y = call.outputs[0];
  const size_t rank = y.rank();
  const float alpha = static_cast<float>(number(call.node.attribute("alpha")));
  const float beta = static_cast<float>(number(call.node.attribute("beta")));
  const std::vector<int64_t> batch(y.sizes().begin(), y.sizes().end() - 2);
  const std::vector<int64_t> added = broadcast_strides(self, y.sizes());
  const ProductSizes sizes{rank == 3 ? y.size(0) : 1, y.size(rank - 2), a.size(rank - 1),
                           y.size(rank - 1)};
  multiply(sizes, call.worker, Matrix::of(a, batch), Matrix::of(b, batch),
           [&](int64_t n, int64_t row, int64_t column, int64_t count, const float* sums) {
             int64_t to = row * y.strides()[rank - 2] + column * y.strides()[rank - 1];
             int64_t from = row * added[rank - 2] + column * added[rank - 1];
             if (rank == 3) {
               to += n * y.strides()[0];
               from += n * added[0];
             }
             for (int64_t j = 0; j < count; ++j) {
               const float term = beta == 0 ? 0.0f : beta * self.get(from + j * added[rank - 1]);
               y.set(to + j * y.strides()[rank - 1], term + alpha * sums[j]);
             }
           });
}

// matmul, dot and mv: a vector is a row on the left, a column on the right.
void matmul(const Call& call) {
  const View &a = call.inputs[0], &b = call.inputs[1], &y = call.outputs[0];
  const bool row = a.rank() == 1, column = b.rank() == 1;
  const size_t kept = (row ? 0 : 1) + (column ? 0 : 1);
  const std::vector<int64_t> batch(y.sizes().begin(),
                                   y.sizes().end() - static_cast<ptrdiff_t>(kept));
  const Matrix left = Matrix::of(a, batch), right = Matrix::of(b, batch);
  const ProductSizes sizes{static_cast<int64_t>(left.offsets.size()),
                           row ? 1 : a.size(a.rank() - 2), a.sizes().back(),
                           column ? 1 : b.sizes().back()};
  multiply(sizes, call.worker, left, column ? right.transposed() : right,
           [&](int64_t n, int64_t i, int64_t j, int64_t count, const float* sums) {
             // The result is the batch of products in row-major order.
             const int64_t first = (n * sizes.rows + i) * sizes.columns + j;
             for (int64_t k = 0; k < count; ++k) y.set(y.offset_of(first + k), sums[k]);
           });
}

// Row runs of the input by a matrix each; rows after the last run are zero.
void grouped_product(const Call& call) {
  const View &input = call.inputs[0], &weight = call.inputs[1], &ends = call.inputs[2];
  const View& y = call.outputs[0];
  const Matrix a = Matrix::of(input, {}), b = Matrix::of(weight, {weight.size(0)});
  int64_t start = 0;
  const auto store = [&](int64_t row, int64_t column, int64_t count, const float* values) {
    y.set_run(row * y.strides()[0] + column * y.strides()[1], y.strides()[1], count, values);
  };
  for (int64_t group = 0; group < weight.size(0); ++group) {
    const int64_t end = ends.get_integer(group * ends.strides()[0]);
    if (end < start || end > input.size(0)) {
      call.fault->store(&call.node, std::memory_order_relaxed);
      return;
    }
    const ProductSizes sizes{1, end - start, input.size(1), weight.size(2)};
    Matrix rows = a, matrix = b;
    rows.offsets = {start * a.row_stride};
    matrix.offsets = {b.offsets[static_cast<size_t>(group)]};
    multiply(sizes, call.worker, rows, matrix,
             [&](int64_t, int64_t row, int64_t column, int64_t count, const float* sums) {
               store(start + row, column, count, sums);
             });
    start = end;
  }
  const std::vector<float> zeros(static_cast<size_t>(y.size(1)));
  const Range rest = part_of(y.size(0) - start, call.worker);
  for (int64_t row = rest.begin; row < rest.end; ++row) {
    store(start + row, 0, y.size(1), zeros.data());
  }
}

// Substitution, column by column of B: row i is known once those before it (after it, for an upper
// triangle) are. x · self = B is the same with everything transposed.
void solve_triangular(const Call& call) {
  const View &a = call.input("self"), &b = call.input("B"), &x = call.outputs[0];
  const std::vector<int64_t> batch(x.sizes().begin(), x.sizes().end() - 2);
  Matrix triangle = Matrix::of(a, batch), from = Matrix::of(b, batch), to = Matrix::of(x, batch);
  const bool left = call.node.flag("left"), unit = call.node.flag("unitriangular");
  const bool upper = call.node.flag("upper") == left;
  if (!left) {
    triangle = triangle.transposed();
    from = from.transposed();
    to = to.transposed();
  }
  const int64_t size = a.size(a.rank() - 1),
                columns = left ? x.size(x.rank() - 1) : x.size(x.rank() - 2);
  std::vector<float> row(static_cast<size_t>(size)), solved(static_cast<size_t>(size));
  const Range part = part_of(static_cast<int64_t>(to.offsets.size()) * columns, call.worker);
  for (int64_t item = part.begin; item < part.end; ++item) {
    const int64_t matrix = item / columns, column = item % columns;
    const auto at = [&](const Matrix& m, int64_t i) {
      return m.offsets[static_cast<size_t>(matrix)] + i * m.row_stride + column * m.column_stride;
    };
    for (int64_t step = 0; step < size; ++step) {
      const int64_t i = upper ? size - 1 - step : step;
      const int64_t first = upper ? i + 1 : 0, last = upper ? size : i;
      triangle.read_row(matrix, i, 0, size, row.data());
      double sum = b.get(at(from, i));
      for (int64_t k = first; k < last; ++k) {
        sum -= double{row[static_cast<size_t>(k)]} * double{solved[static_cast<size_t>(k)]};
      }
      if (!unit) sum /= double{row[static_cast<size_t>(i)]};
      solved[static_cast<size_t>(i)] = static_cast<float>(sum);
      x.set(at(to, i), solved[static_cast<size_t>(i)]);
    }
  }
}

}  // namespace

void add_matmul(KernelTable& table) {
  table.add("aten.mm", device::Tier::reference, make<product, true>);
  table.add("aten.bmm", device::Tier::reference, make<product, true>);
  table.add("aten.addmm", device::Tier::reference, make<add_product, true>);
  table.add("aten.baddbmm", device::Tier::reference, make<add_product, true>);
  table.add("aten.matmul", device::Tier::reference, make<matmul, true>);
  table.add("aten.dot", device::Tier::reference, make<matmul, true>);
  table.add("aten.mv", device::Tier::reference, make<matmul, true>);
  table.add("aten.linalg_solve_triangular", device::Tier::reference, make<solve_triangular, true>);
  table.add("transformers.grouped_mm_fallback", device::Tier::reference,
            make<grouped_product, true>);
}

}  // namespace ostinato::cpu::reference
