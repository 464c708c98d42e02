#pragma once

#include <optional>
#include <vector>

#include "ostinato/device/cpu/kernel.h"
#include "ostinato/device/cpu/kernels/epilogue.h"
#include "ostinato/device/cpu/kernels/panels.h"

namespace ostinato::cpu {

/// Where things that are numbered from zero begin, in bytes: the rows of a matrix, or the matrices
/// of a batch. A stride where one does, else a table.
class Offsets {
 public:
  Offsets() = default;
  explicit Offsets(int64_t stride) : stride_(stride) {}

  /// Those of all indices over dims of these sizes and strides (bytes), in row-major order.
  static Offsets over(const std::vector<int64_t>& sizes, const std::vector<int64_t>& strides);

  int64_t operator[](int64_t i) const {
    return table_.empty() ? i * stride_ : table_[static_cast<size_t>(i)];
  }
  bool even() const { return table_.empty(); }
  int64_t stride() const { return stride_; }

 private:
  int64_t stride_ = 0;
  std::vector<int64_t> table_;
};

/// Workers as rows and columns of a grid.
struct Grid {
  int rows = 1, columns = 1;

  int count() const { return rows * columns; }
  Worker row(Worker worker) const { return {worker.index / columns, rows}; }
  Worker column(Worker worker) const { return {worker.index % columns, columns}; }
  /// Those in the same row.
  Range mates(Worker worker) const {
    const int first = worker.index / columns * columns;
    return {first, first + columns};
  }
};

/// Cuts a matrix of work among at most so many workers so that the busiest has the least to do.
Grid cut_grid(int64_t row_units, int64_t column_units, int most);

/// y = activation(alpha · (a · b) + beta · bias) + residual for a batch of matrices, or for each of
/// several right matrices one y. All offsets and strides are in bytes; every y is contiguous.
struct ProductSpec {
  /// A matrix for each of the batch: element (row, column) of matrix i lies at
  /// batch[i] + rows[row] + column · column_stride.
  struct Operand {
    size_t index = 0;  ///< among the request's operands
    Offsets batch, rows;
    int64_t column_stride = 0;
  };

  /// A right matrix, and what is its own.
  struct Part {
    Operand b;  ///< its rows are even
    std::optional<Operand> bias;
    int64_t columns = 0;
    size_t output = 0;  ///< which of the request's
  };

  DType dtype = DType::float32;
  int64_t batch = 1, rows = 0, inner = 0;
  Operand a;
  std::vector<Part> parts;          ///< at least one
  std::optional<Operand> residual;  ///< of a single part
  /// Which operand says, if one does, where each matrix's rows end: matrix i multiplies the rows
  /// from where those of i - 1 end. Rows past the last are zero. Contiguous int64 or int32.
  std::optional<size_t> ends;
  DType ends_dtype = DType::int64;
  float alpha = 1, beta = 1;
  Activation activation = Activation::none;
  /// y = activation(a · b + bias) · (a · b' + bias') of two parts with one output.
  bool gated = false;
};

/// A product by the dims of its operands: batch… × rows… × inner times batch… × inner × columns.
/// Strides are in bytes, zero where an operand is broadcast.
struct ProductDims {
  size_t a = 0, b = 1;  ///< among the request's operands
  std::vector<int64_t> batch, rows;
  int64_t inner = 0, columns = 0;
  std::vector<int64_t> a_strides, b_strides;
};

/// Of one part. Rows and batch are joined where all share one `b`. The addends are broadcast to the
/// output.
/// @param bias, residual which operands they are; one that is None is left out
ProductSpec product_spec(const device::Request& request, ProductDims dims,
                         std::optional<size_t> bias = {}, std::optional<size_t> residual = {});

/// Whether all operands there are have one floating dtype.
bool multiplies(const device::Request& request);

/// The kernel of a product. A constant `b` is packed once and shared; another is read as it lies
/// where that is fast, else packed as it goes.
std::unique_ptr<Kernel> make_product(const device::Request& request, ProductSpec spec);

}  // namespace ostinato::cpu
