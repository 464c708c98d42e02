#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "ostinato/ir/dim.h"
#include "ostinato/tensor.h"

namespace ostinato::ir {

/// The kinds of argument, other than tensors, that an operator's schema can have. `integers` and
/// `integer` may be symbolic. A `scalar` is a bool, an integer or a real, and keeps which.
enum class AttrKind { boolean, integer, real, scalar, string, dtype, integers };

/// An attribute's value; `monostate` is the schema's None.
using Attribute = std::variant<std::monostate, bool, Dim, double, std::string, DType, Shape>;

/// Attributes by name, as a caller gives them.
struct NamedAttribute {
  NamedAttribute(std::string_view n, bool v) : name(n), value(v) {}
  NamedAttribute(std::string_view n, int v) : name(n), value(Dim(v)) {}
  NamedAttribute(std::string_view n, int64_t v) : name(n), value(Dim(v)) {}
  NamedAttribute(std::string_view n, Dim v) : name(n), value(std::move(v)) {}
  NamedAttribute(std::string_view n, double v) : name(n), value(v) {}
  NamedAttribute(std::string_view n, const char* v) : name(n), value(std::string(v)) {}
  NamedAttribute(std::string_view n, std::string v) : name(n), value(std::move(v)) {}
  NamedAttribute(std::string_view n, DType v) : name(n), value(v) {}
  NamedAttribute(std::string_view n, Shape v) : name(n), value(std::move(v)) {}
  NamedAttribute(std::string_view n, Attribute v) : name(n), value(std::move(v)) {}

  std::string_view name;
  Attribute value;
};

/// Whether they are the same in every bit: 0.0 and -0.0 are not, equal NaNs are.
bool identical(const Attribute& a, const Attribute& b);

/// Equal for identical attributes.
size_t hash(const Attribute& value);

/// As graph text has it: `None`, `true`, `3`, `1.0`, `"tanh"`, `float32`, `[1, s0]`.
std::string to_string(const Attribute& value);

/// The value as the kind keeps it (an integer given for a real becomes a real); nullopt when it is
/// not of the kind. None is of every kind: whether it may stand is the row's to say.
std::optional<Attribute> normalise(AttrKind kind, Attribute value);

/// `boolean`, `integer`, ….
std::string_view name_of(AttrKind kind);

/// A boolean, an integer or a real as a float, a double or an int64: reals are cut off as
/// `to_integer` does. The integer may not be symbolic.
template <typename T>
T number_of(const Attribute& scalar);

/// A real in the shortest form that reads back to the same double; always with a point, an exponent
/// or a word (`inf`, `-inf`, `nan`), so that it never reads as an integer.
std::string real_to_string(double value);
std::string real_to_string(float value);

/// Between double quotes, with `\"`, `\\`, `\n` and `\xHH` for control characters.
std::string quote(std::string_view text);

}  // namespace ostinato::ir
