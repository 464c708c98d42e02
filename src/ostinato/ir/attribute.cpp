#include "ostinato/ir/attribute.h"

#include <fmt/format.h>

#include <bit>
#include <charconv>
#include <cmath>

#include "ostinato/base/dtype.h"

namespace ostinato::ir {

namespace {

template <typename T>
std::string shortest(T value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  std::string text(buffer, end);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

}  // namespace

std::string real_to_string(double value) { return shortest(value); }
std::string real_to_string(float value) { return shortest(value); }

std::string quote(std::string_view text) {
  std::string result = "\"";
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      result += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {
      result += fmt::format("\\x{:02x}", byte);
    } else {
      if (c == '"' || c == '\\') result += '\\';
      result += c;
    }
  }
  return result + '"';
}

std::string_view name_of(AttrKind kind) {
  switch (kind) {
    case AttrKind::boolean: return "boolean";
    case AttrKind::integer: return "integer";
    case AttrKind::real: return "real";
    case AttrKind::scalar: return "scalar";
    case AttrKind::string: return "string";
    case AttrKind::dtype: return "dtype";
    case AttrKind::integers: return "integers";
  }
  __builtin_unreachable();
}

std::optional<Attribute> normalise(AttrKind kind, Attribute value) {
  if (std::holds_alternative<std::monostate>(value)) return value;
  const Dim* integer = std::get_if<Dim>(&value);
  bool fits = false;
  switch (kind) {
    case AttrKind::boolean: fits = std::holds_alternative<bool>(value); break;
    case AttrKind::integer: fits = integer != nullptr; break;
    case AttrKind::real:
      if (integer != nullptr && integer->is_constant()) {
        return Attribute(static_cast<double>(integer->value()));
      }
      fits = std::holds_alternative<double>(value);
      break;
    case AttrKind::scalar:
      fits = integer != nullptr || std::holds_alternative<bool>(value) ||
             std::holds_alternative<double>(value);
      break;
    case AttrKind::string: fits = std::holds_alternative<std::string>(value); break;
    case AttrKind::dtype: fits = std::holds_alternative<DType>(value); break;
    case AttrKind::integers: fits = std::holds_alternative<Shape>(value); break;
  }
  return fits ? std::optional<Attribute>(std::move(value)) : std::nullopt;
}

template <typename T>
T number_of(const Attribute& scalar) {
  if (const bool* boolean = std::get_if<bool>(&scalar)) return *boolean ? T{1} : T{0};
  if (const Dim* integer = std::get_if<Dim>(&scalar)) return static_cast<T>(integer->value());
  const double real = std::get<double>(scalar);
  if constexpr (std::is_same_v<T, int64_t>) {
    return to_integer<int64_t>(real);
  } else {
    return static_cast<T>(real);
  }
}

template float number_of<float>(const Attribute&);
template double number_of<double>(const Attribute&);
template int64_t number_of<int64_t>(const Attribute&);

bool identical(const Attribute& a, const Attribute& b) {
  const double *left = std::get_if<double>(&a), *right = std::get_if<double>(&b);
  if (left == nullptr || right == nullptr) return a == b;
  return std::bit_cast<uint64_t>(*left) == std::bit_cast<uint64_t>(*right);
}

size_t hash(const Attribute& value) {
  struct Hasher {
    size_t operator()(std::monostate) const { return 1; }
    size_t operator()(bool v) const { return v ? 3 : 2; }
    size_t operator()(const Dim& v) const {
      return v.is_constant() ? std::hash<int64_t>()(v.value()) : std::hash<std::string>()(v.str());
    }
    size_t operator()(double v) const { return std::hash<uint64_t>()(std::bit_cast<uint64_t>(v)); }
    size_t operator()(const std::string& v) const { return std::hash<std::string>()(v); }
    size_t operator()(DType v) const { return static_cast<size_t>(v); }
    size_t operator()(const Shape& v) const {
      size_t result = v.size();
      for (const Dim& dim : v) result = result * 31 + (*this)(dim);
      return result;
    }
  };
  return std::visit(Hasher{}, value);
}

std::string to_string(const Attribute& value) {
  struct Printer {
    std::string operator()(std::monostate) const { return "None"; }
    std::string operator()(bool v) const { return v ? "true" : "false"; }
    std::string operator()(const Dim& v) const { return v.str(); }
    std::string operator()(double v) const { return real_to_string(v); }
    std::string operator()(const std::string& v) const { return quote(v); }
    std::string operator()(DType v) const { return std::string(name_of(v)); }
    std::string operator()(const Shape& v) const {
      std::string text = "[";
      for (const Dim& dim : v) text += (text.size() > 1 ? ", " : "") + dim.str();
      return text + "]";
    }
  };
  return std::visit(Printer{}, value);
}

}  // namespace ostinato::ir
