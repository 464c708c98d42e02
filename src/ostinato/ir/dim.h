#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ostinato::ir {

/// What named symbols stand for in one call: a shape key.
using Bindings = std::map<std::string, int64_t, std::less<>>;

/// A size: an integer, or an expression over named symbols such as `2*s0+1`.
///
/// Expressions are kept in one canonical form (a sum of integer multiples of products, sorted), so
/// that equal polynomials compare equal. A symbol stands for a size of at least one, one whose name
/// begins with `_` for any integer. Arithmetic throws `invalid_argument` when an integer leaves 64
/// bits, a divisor is zero, or an expression outgrows what any model needs.
class Dim {
 public:
  Dim(int64_t value = 0) : constant_(value) {}
  /// A name of letters, digits and `_` that does not begin with a digit and is not a word of graph
  /// text (`None`, `true`, `false`, `inf`, `nan`); throws `invalid_argument`.
  static Dim symbol(std::string name);

  bool is_constant() const { return terms_ == nullptr; }
  bool is(int64_t value) const { return is_constant() && constant_ == value; }

  /// The integer; throws `invalid_argument` when the dim is symbolic.
  int64_t value() const;

  /// The integer under the bindings; throws `invalid_argument` naming a symbol that has none.
  int64_t evaluate(const Bindings& bindings) const;

  /// The same expression with every bound symbol replaced by its integer.
  Dim substitute(const Bindings& bindings) const;

  /// A value that the expression is never below, as far as its form shows; nullopt when it shows
  /// none.
  std::optional<int64_t> lower_bound() const;

  /// Adds the names of the symbols in the expression, each once, to `names`.
  void collect_symbols(std::vector<std::string>& names) const;

  /// As graph text has it: `12`, `s0`, `2*s0+1`, `floordiv(s0, 2)`.
  std::string str() const;

  /// Reads what `str` writes; throws `invalid_argument`.
  static Dim parse(std::string_view text);

  friend Dim operator+(const Dim& a, const Dim& b);
  friend Dim operator-(const Dim& a, const Dim& b);
  friend Dim operator*(const Dim& a, const Dim& b);
  friend bool operator==(const Dim& a, const Dim& b);

  /// Rounds towards minus infinity, as Python's `//`. The divisor must not be the integer zero.
  friend Dim floor_div(const Dim& a, const Dim& b);
  /// Has the sign of the divisor, as Python's `%`.
  friend Dim mod(const Dim& a, const Dim& b);
  friend Dim max(const Dim& a, const Dim& b);
  friend Dim min(const Dim& a, const Dim& b);

 private:
  struct Atom;
  struct Term;
  using Terms = std::vector<Term>;

  static Dim from_terms(int64_t constant, Terms terms);
  static Dim call(char op, const Dim& a, const Dim& b);
  static Dim apply(char op, const Dim& a, const Dim& b);

  int64_t constant_ = 0;
  std::shared_ptr<const Terms> terms_;  // sorted by text; null when the dim is an integer
};

using Shape = std::vector<Dim>;

/// The product of all sizes; 1 for a scalar.
Dim numel(const Shape& shape);

/// `(2, s0, 3)`.
std::string to_string(const Shape& shape);

/// The integers; throws `invalid_argument` when a dim is symbolic.
std::vector<int64_t> to_integers(const Shape& shape);

}  // namespace ostinato::ir
