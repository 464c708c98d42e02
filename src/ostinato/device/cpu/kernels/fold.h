#pragma once

#include <cstdint>

#include "ostinato/device/cpu/kernels/convert.h"
#include "ostinato/device/cpu/kernels/loops.h"

/// What reductions share: folds of many elements into one value.
namespace ostinato::cpu {

enum class Fold {
  sum,
  squares,     ///< Σ x²
  deviations,  ///< Σ (x − parameter)²
  absolutes,   ///< Σ |x|
  powers,      ///< Σ |x| to the power of the parameter
  nonzeros,    ///< how many are other than zero
  product,
  max,
  min,
  max_absolute,
  min_absolute,
  any,
  all,
};

/// What is folded so far: `real` of floats, `integer` of integers and bools.
struct Folded {
  float real = 0;
  int64_t integer = 0;
};

/// The functions of one fold over elements of one dtype. NaN wins over all in maxima and minima.
struct FoldFunctions {
  Folded start;
  /// Folds `count` adjacent elements in.
  void (*row)(const void* x, int64_t count, float parameter, Folded& folded) = nullptr;
  /// Folds element i into `folded[i]`; null but for floats.
  void (*columns)(const void* x, int64_t count, float parameter, float* folded) = nullptr;
};

/// For float32, bfloat16, float16; of the rest int64 (sum, product, max, min) and bool (any, all).
FoldFunctions fold_functions(Fold fold, DType dtype);

/// How a reduction works and what becomes of what it folded: scaled, then the root taken.
struct Reduction {
  Fold fold = Fold::sum;
  float parameter = 0;
  double scale = 1;
  double root = 1;

  float finish(float folded) const;
};

/// An operand of a reduction, cut into groups of elements that are folded together.
class Groups {
 public:
  /// The most elements of a piece. Sums of long groups are rounded at its multiples, however the
  /// elements come.
  static constexpr int64_t kChunk = 1024;

  /// @param reduced for each dim whether it lies within a group
  /// @param wanted the dtype that folds take; elements are converted to it
  static std::optional<Groups> make(const device::TensorDesc& x, const std::vector<bool>& reduced,
                                    DType wanted);

  int64_t count() const { return kept_.count(); }     ///< of groups
  int64_t length() const { return within_.count(); }  ///< of each

  const Loops& kept() const { return kept_; }
  const Loops& within() const { return within_; }
  bool converts() const { return convert_ != nullptr; }
  int64_t element_size() const { return element_size_; }

  /// Calls `f(elements, count, position)` for pieces of a group in row-major order, as adjacent
  /// elements of the wanted dtype, `limit` at most.
  template <typename F>
  void for_pieces(const char* group, int64_t limit, F&& f) const {
    const int64_t inner = within_.inner(), stride = within_.inner_strides()[0];
    const bool direct = convert_ == nullptr && (stride == element_size_ || inner == 1);
    if (!direct) limit = std::min(limit, kChunk);
    const int64_t rows = length() == 0 ? 0 : within_.rows();
    RowCursor cursor(within_, 0);
    for (int64_t row = 0; row < rows; ++row, cursor.next()) {
      const char* x = group + cursor.offset(0);
      for (int64_t i = 0; i < inner; i += limit) {
        const int64_t count = std::min(limit, inner - i);
        const char* piece = x + i * stride;
        if (direct) {
          f(static_cast<const void*>(piece), count, row * inner + i);
          continue;
        }
        alignas(64) char raw[kChunk * sizeof(int64_t)], converted[kChunk * sizeof(int64_t)];
        gather(piece, stride, static_cast<size_t>(element_size_), raw, count);
        if (convert_ != nullptr) convert_(raw, converted, count);
        f(static_cast<const void*>(convert_ != nullptr ? converted : raw), count, row * inner + i);
      }
    }
  }

 private:
  Loops kept_, within_;
  Convert convert_ = nullptr;
  int64_t element_size_ = 4;
};

/// The dtype in which a reduction to `output` folds elements of `input`.
DType fold_dtype(DType input, DType output);

}  // namespace ostinato::cpu
