#pragma once

#include <algorithm>
#include <vector>

#include "ostinato/device/cpu/reference/reference.h"

namespace ostinato::cpu::reference {

/// Adds to `sums` (columns) a row `a` (inner) times a block `b` (inner, columns with `pitch`), one
/// k after the other, four of them a pass over the sums.
inline void add_row_product(const float* a, const float* b, int64_t inner, int64_t columns,
                            int64_t pitch, float* sums) {
  int64_t k = 0;
  for (; k + 4 <= inner; k += 4) {
    const float* rows = b + k * pitch;
    for (int64_t j = 0; j < columns; ++j) {
      float sum = sums[j] + a[k] * rows[j];
      sum += a[k + 1] * rows[j + pitch];
      sum += a[k + 2] * rows[j + 2 * pitch];
      sums[j] = sum + a[k + 3] * rows[j + 3 * pitch];
    }
  }
  for (; k < inner; ++k) {
    for (int64_t j = 0; j < columns; ++j) sums[j] += a[k] * b[k * pitch + j];
  }
}

struct ProductSizes {
  int64_t batch, rows, inner, columns;
};

/// A worker's part of a batch of products a · b in fp32, by blocks whose operands the caller
/// unpacks from whatever they are stored as:
/// `read_a(batch, row, k, count, to)` writes `count` elements of a row of a;
/// `read_b(batch, k, k_count, column, column_count, pitch, to)` writes a block of b, a row every
/// `pitch` floats;
/// `store(batch, row, column, count, sums)` takes a piece of a row of the result.
template <typename ReadA, typename ReadB, typename Store>
void multiply_blocks(const ProductSizes& sizes, Worker worker, ReadA&& read_a, ReadB&& read_b,
                     Store&& store) {
  constexpr int64_t kRows = 256, kInner = 128, kColumns = 128;
  const int64_t row_blocks = (sizes.rows + kRows - 1) / kRows;
  const int64_t column_blocks = (sizes.columns + kColumns - 1) / kColumns;
  std::vector<float> a(kInner), b(kInner * kColumns), sums(kRows * kColumns);
  const Range part = part_of(sizes.batch * row_blocks * column_blocks, worker);
  for (int64_t block = part.begin; block < part.end; ++block) {
    const int64_t batch = block / (row_blocks * column_blocks);
    const int64_t row = block / column_blocks % row_blocks * kRows;
    const int64_t column = block % column_blocks * kColumns;
    const int64_t rows = std::min(kRows, sizes.rows - row);
    const int64_t columns = std::min(kColumns, sizes.columns - column);
    std::fill(sums.begin(), sums.end(), 0.0f);
    for (int64_t k = 0; k < sizes.inner; k += kInner) {
      const int64_t inner = std::min(kInner, sizes.inner - k);
      read_b(batch, k, inner, column, columns, kColumns, b.data());
      for (int64_t i = 0; i < rows; ++i) {
        read_a(batch, row + i, k, inner, a.data());
        add_row_product(a.data(), b.data(), inner, columns, kColumns, sums.data() + i * kColumns);
      }
    }
    for (int64_t i = 0; i < rows; ++i) {
      store(batch, row + i, column, columns, sums.data() + i * kColumns);
    }
  }
}

/// A matrix within a tensor, or a batch of them.
struct Matrix {
  const View* view;
  int64_t row_stride, column_stride;
  std::vector<int64_t> offsets;  ///< of each matrix of the batch

  /// The last two dims, or the last as a row; leading dims broadcast to `batch`.
  static Matrix of(const View& view, const std::vector<int64_t>& batch);

  Matrix transposed() const { return {view, column_stride, row_stride, offsets}; }
  void read_row(int64_t index, int64_t row, int64_t column, int64_t count, float* to) const;
  void read_block(int64_t index, int64_t row, int64_t rows, int64_t column, int64_t columns,
                  int64_t pitch, float* to) const;
};

/// The same for two matrices.
template <typename Store>
void multiply(const ProductSizes& sizes, Worker worker, const Matrix& a, const Matrix& b,
              Store&& store) {
  multiply_blocks(
      sizes, worker,
      [&a](int64_t batch, int64_t row, int64_t k, int64_t count, float* to) {
        a.read_row(batch, row, k, count, to);
      },
      [&b](int64_t batch, int64_t k, int64_t inner, int64_t column, int64_t columns, int64_t pitch,
           float* to) { b.read_block(batch, k, inner, column, columns, pitch, to); },
      store);
}

}  // namespace ostinato::cpu::reference
