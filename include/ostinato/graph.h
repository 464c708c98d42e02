#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "ostinato/tensor.h"

namespace ostinato {

/// Tensors by name, as a safetensors file holds them.
using NamedTensors = std::map<std::string, Tensor, std::less<>>;

/// A size in a graph: an integer, or an expression over named symbols such as `batch` or `2*s+1`.
/// A symbol stands for a size of at least one and gets its value with each call.
class OSTINATO_API Size {
 public:
  template <std::integral T>
  Size(T value) : value_(static_cast<int64_t>(value)) {}
  /// Sums and products of integers and symbols, `floordiv(a, b)`, `mod(a, b)`, `max(a, b)` and
  /// `min(a, b)`. Throws `invalid_argument` for what is no such expression.
  Size(std::string_view expression);
  Size(const char* expression) : Size(std::string_view(expression)) {}
  Size(std::nullptr_t) = delete;

  bool is_symbolic() const { return !expression_.empty(); }
  /// Throws `invalid_argument` when the size is symbolic.
  int64_t value() const;
  /// As graph text has it: `12`, `s`, `2*s+1`.
  std::string str() const;

  bool operator==(const Size&) const = default;  ///< equal polynomials are equal

 private:
  int64_t value_ = 0;
  std::string expression_;  // in its canonical form; empty for an integer
};

/// An input, output, constant or state of a graph.
struct OSTINATO_API TensorSpec {
  std::string name;
  DType dtype = DType::float32;
  std::vector<Size> shape;

  std::string str() const;  ///< `pixels: float32(batch, 3, 224, 224)`
};

/// A computation: calls of operators on values with dtypes and symbolic sizes. A graph is immutable
/// and a handle: copies are cheap and share it, and any threads may use it at once.
///
/// Every member throws `invalid_argument` on a graph that was moved from.
class OSTINATO_API Graph {
 public:
  /// Reads graph text (docs/graph-text.md). Throws `corrupt` naming the line, what was expected and
  /// what was found.
  /// @param constants the elements of the constants whose elements are not in the text: all of
  ///   them, or none for a graph that is to be looked at and not compiled. Throws `not_found` for
  ///   one that is missing, `invalid_argument` for a name that no constant has, and `corrupt` for a
  ///   wrong dtype or shape.
  static Graph parse(std::string_view text, const NamedTensors& constants = {});

  /// Reads a file of graph text, with its constants from the safetensors file of the same name
  /// beside it: `chain.graph` and `chain.safetensors`. Throws `not_found`, `io` and as `parse`.
  static Graph open(const std::filesystem::path& path);

  /// Writes what `open` reads; the safetensors file only where a constant needs it. Each file
  /// appears whole or not at all. Throws `io`, and `invalid_argument` for a path that ends in
  /// `.safetensors`.
  void save(const std::filesystem::path& path) const;

  /// The graph as text; `Graph::parse(graph.text(), …).text() == graph.text()`.
  std::string text() const;

  /// References live as long as the graph, that is, its last copy.
  const std::string& name() const;
  const std::vector<TensorSpec>& inputs() const;     ///< what a call gives, in order
  const std::vector<TensorSpec>& outputs() const;    ///< what a call returns, in order
  const std::vector<TensorSpec>& constants() const;  ///< those whose elements are not in the text
  const std::vector<TensorSpec>& states() const;     ///< what lives between calls, zero at first
  const std::vector<std::string>& symbols() const;   ///< of the inputs' and states' sizes
  size_t call_count() const;                         ///< calls of operators

  /// Throws `internal`, naming the call and the rule, unless the graph is sound. `parse`, `open`
  /// and `GraphBuilder::build` return none that is not; this is for tests of what rewrites graphs.
  void verify() const;

 private:
  friend struct Access;
  struct Impl;
  explicit Graph(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  const Impl& impl() const;

  std::shared_ptr<const Impl> impl_;
};

/// What an attribute may be made of beside a list in braces.
template <typename T>
concept AttributeValue = std::is_arithmetic_v<T> || std::is_null_pointer_v<T> ||
    std::same_as<T, DType> || std::same_as<T, Size> || std::same_as<T, std::vector<Size>> ||
    std::convertible_to<T, std::string_view>;

/// An argument of a call that is not a tensor, by its name in the operator's schema:
///
///     {"dim", -1}   {"eps", 1e-6}   {"keepdim", true}   {"approximate", "tanh"}
///     {"size", {"batch", 64}}   {"end", Size("s")}   {"dtype", DType::int64}   {"scale", nullptr}
///
/// nullptr is the schema's None. An integer given for a real becomes one.
struct OSTINATO_API Attribute {
  using Value =
      std::variant<std::nullptr_t, bool, Size, double, std::string, DType, std::vector<Size>>;

  template <AttributeValue T>
  Attribute(std::string_view n, T v) : name(n), value(convert(std::move(v))) {}
  Attribute(std::string_view n, std::initializer_list<Size> v) : name(n), value(std::vector(v)) {}

  std::string name;
  Value value;

 private:
  template <typename T>
  static Value convert(T v) {
    if constexpr (std::integral<T> && !std::same_as<T, bool>) {
      return Size(v);
    } else if constexpr (std::floating_point<T>) {
      return static_cast<double>(v);
    } else if constexpr (std::convertible_to<T, std::string_view> && !std::is_null_pointer_v<T>) {
      return std::string(std::string_view(v));
    } else {
      return v;
    }
  }
};

/// A value of a graph that is being built: an input, a constant, a state, or a result of a call. A
/// default-constructed one is None, for an optional operand that is not there.
class OSTINATO_API Value {
 public:
  Value() = default;

  bool is_none() const { return builder_ == 0; }
  DType dtype() const { return dtype_; }
  const std::vector<Size>& shape() const { return shape_; }

 private:
  friend class GraphBuilder;
  uint64_t builder_ = 0;  // of which it is a value; each has a number of its own
  int id_ = 0;
  DType dtype_ = DType::float32;
  std::vector<Size> shape_;
};

/// Makes a graph, call by call. Used by one thread at a time.
///
/// Throws `invalid_argument` for a value of another builder, and for any use after `build` or after
/// being moved from. What throws leaves the builder as it was.
class OSTINATO_API GraphBuilder {
 public:
  explicit GraphBuilder(std::string name = "");
  ~GraphBuilder();
  GraphBuilder(GraphBuilder&&) noexcept;
  GraphBuilder& operator=(GraphBuilder&&) noexcept;

  /// Names are unique among the inputs, the constants, the states and the outputs, each kind for
  /// itself; the second of a name throws `invalid_argument`.
  Value input(std::string name, DType dtype, const std::vector<Size>& shape);
  /// The graph shares the tensor's storage, which must not be written to any more. Constants of up
  /// to 64 elements that have no name are printed with their elements.
  Value constant(Tensor data, std::string name = "");
  /// A buffer that lives between calls, zero at first, that operators such as `cache_update`
  /// overwrite.
  Value state(std::string name, DType dtype, const std::vector<Size>& shape);

  /// Appends a call and returns its first result.
  /// @param op core ATen's name with its overload and without `.default` (`aten.add.Tensor`), or
  ///   one of the fused operators (`rms_norm`). Throws `not_found` with the nearest name.
  /// @param operands in the order of the schema, None where an optional one is not there; the
  ///   tensors of a list one after the other. Throws `invalid_argument` for dtypes and shapes that
  ///   the operator does not take.
  /// @param attributes the schema's defaults stand in for those not given. Throws
  ///   `invalid_argument` for an unknown one and for one of the wrong kind.
  Value call(std::string_view op, const std::vector<Value>& operands,
             const std::vector<Attribute>& attributes = {});
  /// The same with all results, of operators such as `aten.split.Tensor`.
  std::vector<Value> call_all(std::string_view op, const std::vector<Value>& operands,
                              const std::vector<Attribute>& attributes = {});

  void output(std::string name, const Value& value);

  /// The graph, verified. The builder is spent afterwards. Throws `invalid_argument` for a graph
  /// that reads a state as it was before an overwrite.
  Graph build();

 private:
  struct Impl;
  Impl& impl();

  std::unique_ptr<Impl> impl_;
};

}  // namespace ostinato
