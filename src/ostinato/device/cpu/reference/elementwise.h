#pragma once

#include "ostinato/device/cpu/reference/reference.h"

/// What the elementwise operators share: rows of operands that are broadcast to the result.
namespace ostinato::cpu::reference {

/// The value as that dtype stores it.
float rounded(float value, DType dtype);
int64_t rounded(int64_t value, DType dtype);

/// Whether an operand that is a scalar, or a tensor without dims, takes the dtype that the operator
/// computes in (as for most of PyTorch's operators), or stays as it is (as for products and
/// quotients).
enum class Scalars { round, keep };

/// One operand of an elementwise operator: a tensor or a scalar attribute.
class Source {
 public:
  /// @param dtype what the operator computes in: tensors of other dtypes are rounded to it
  Source(const View& view, DType dtype, Scalars scalars = Scalars::round)
      : view_(&view),
        dtype_(dtype),
        rounds_(view.dtype() != dtype && (view.rank() > 0 || scalars == Scalars::round)) {}
  Source(const ir::Attribute& scalar, DType dtype, Scalars scalars = Scalars::round)
      : scalar_(&scalar), dtype_(dtype), rounds_(scalars == Scalars::round) {}

  /// The elements of the result's row that begins at these indices. T is float or int64_t.
  template <typename T>
  void read(std::span<const int64_t> index, std::span<T> row) const;

 private:
  const View* view_ = nullptr;
  const ir::Attribute* scalar_ = nullptr;
  DType dtype_;
  bool rounds_;
};

/// The operand or the attribute of that name.
Source source(const Call& call, std::string_view name, DType dtype, Scalars scalars);

template <typename T>
void write(const View& view, std::span<const int64_t> index, std::span<const T> row);

/// Calls `f(index, length)` for each row of a shape: the indices of its first element.
template <typename F>
void for_each_row(const std::vector<int64_t>& sizes, F&& f) {
  std::vector<int64_t> rows = sizes;
  const int64_t length = rows.empty() ? 1 : rows.back();
  if (!rows.empty()) rows.back() = length > 0 ? 1 : 0;
  for_each_index(rows, [&](std::span<const int64_t> index, int64_t) { f(index, length); });
}

/// y = f(sources...) for each element, where f takes as many T, float or int64_t, and returns a
/// float, an int64_t or a bool.
template <typename T, typename F, typename... Sources>
void map(const View& y, F&& f, const Sources&... sources) {
  using Result = decltype(f((static_cast<void>(sources), T{})...));
  using Stored = std::conditional_t<std::is_same_v<Result, float>, float, int64_t>;
  for_each_row(y.sizes(), [&](std::span<const int64_t> index, int64_t length) {
    const auto load = [&](const Source& from) {
      std::vector<T> row(static_cast<size_t>(length));
      from.read<T>(index, row);
      return row;
    };
    const auto apply = [&](const auto&... rows) {
      std::vector<Stored> results(static_cast<size_t>(length));
      for (size_t i = 0; i < results.size(); ++i) results[i] = f(rows[i]...);
      write<Stored>(y, index, results);
    };
    apply(load(sources)...);
  });
}

/// NaN if either is, unlike std::fmax and std::fmin.
template <typename T>
T larger(T a, T b) {
  return a > b || a != a ? a : b;
}
template <typename T>
T smaller(T a, T b) {
  return a < b || a != a ? a : b;
}

}  // namespace ostinato::cpu::reference
