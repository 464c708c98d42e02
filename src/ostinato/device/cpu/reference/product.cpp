#include "ostinato/device/cpu/reference/product.h"

namespace ostinato::cpu::reference {

Matrix Matrix::of(const View& view, const std::vector<int64_t>& batch) {
  const size_t rank = view.rank();
  Matrix matrix{&view, rank > 1 ? view.strides()[rank - 2] : 0, view.strides()[rank - 1], {}};
  std::vector<int64_t> strides(batch.size(), 0);
  const size_t leading = rank > 2 ? rank - 2 : 0;
  for (size_t d = 0; d < leading; ++d) {
    if (view.size(d) != 1) strides[batch.size() - leading + d] = view.strides()[d];
  }
  for_each_index(batch, [&](std::span<const int64_t> index, int64_t) {
    int64_t offset = 0;
    for (size_t d = 0; d < index.size(); ++d) offset += index[d] * strides[d];
    matrix.offsets.push_back(offset);
  });
  return matrix;
}

void Matrix::read_row(int64_t index, int64_t row, int64_t column, int64_t count, float* to) const {
  const int64_t offset = offsets[static_cast<size_t>(index)] + row * row_stride;
  view->get_run(offset + column * column_stride, column_stride, count, to);
}

void Matrix::read_block(int64_t index, int64_t row, int64_t rows, int64_t column, int64_t columns,
                        int64_t pitch, float* to) const {
  if (row_stride != 1) {
    for (int64_t i = 0; i < rows; ++i) {
      read_row(index, row + i, column, columns, to + i * pitch);
    }
    return;
  }
  // A permuted matrix: read it in the order it is stored in.
  std::vector<float> values(static_cast<size_t>(rows));
  for (int64_t j = 0; j < columns; ++j) {
    const int64_t offset = offsets[static_cast<size_t>(index)] + row;
    view->get_run(offset + (column + j) * column_stride, 1, rows, values.data());
    for (int64_t i = 0; i < rows; ++i) to[i * pitch + j] = values[static_cast<size_t>(i)];
  }
}

}  // namespace ostinato::cpu::reference
