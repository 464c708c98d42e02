#include "ostinato/ir/attribute.h"

#include <charconv>
#include <cmath>

namespace ostinato::ir {

std::string real_to_string(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  std::string text(buffer, end);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

namespace {

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (c == '\n') {
      result += "\\n";
    } else {
      result += c;
    }
  }
  return result + '"';
}

}  // namespace

std::string to_string(const Attribute& value) {
  struct Printer {
    std::string operator()(std::monostate) const { return "None"; }
    std::string operator()(bool v) const { return v ? "true" : "false"; }
    std::string operator()(const Dim& v) const { return v.str(); }
    std::string operator()(double v) const { return real_to_string(v); }
    std::string operator()(const std::string& v) const { return quoted(v); }
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
