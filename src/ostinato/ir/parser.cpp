#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstring>
#include <unordered_map>
#include <unordered_set>

#include "ostinato/base/dtype.h"
#include "ostinato/base/error.h"
#include "ostinato/ir/text.h"
#include "ostinato/ir/verifier.h"

namespace ostinato::ir {

namespace {

constexpr std::string_view kStage = "ir/parser";
constexpr std::string_view kHint = "docs/graph-text.md describes the format.";
constexpr std::string_view kHeader = "ostinato.graph";
constexpr int kVersion = 1;
constexpr int kMaxId = (1 << 22) - 1;  // hostile ids must not make a huge table

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\r";
  const size_t first = text.find_first_not_of(kSpaces);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpaces) - first + 1);
}

/// Reads tokens from one line.
class Cursor {
 public:
  Cursor(std::string_view line, size_t number) : line_(line), number_(number) {}

  [[noreturn]] void reject(std::string_view expected, std::string_view hint = kHint) const {
    std::string_view got = trim(line_.substr(at_));
    if (got.size() > 40) got = got.substr(0, 40);
    reject_text(fmt::format("expected {}, got {}", expected,
                            got.empty() ? "the end of the line" : quote(got)),
                hint);
  }

  [[noreturn]] void reject_text(std::string_view message, std::string_view hint = kHint) const {
    fail(ErrorCode::corrupt, kStage, hint, "line {}: {}", number_, message);
  }

  /// At the end of the line, or at a comment.
  bool at_end() { return peek() == '\0' || peek() == '#'; }

  void expect_end() {
    if (!at_end()) reject("the end of the line");
  }

  char peek() {
    while (at_ < line_.size() && std::strchr(" \t\r", line_[at_]) != nullptr && line_[at_] != '\0')
      ++at_;
    return at_ < line_.size() ? line_[at_] : '\0';
  }

  bool accept(char c) {
    if (peek() != c || at_ == line_.size()) return false;
    ++at_;
    return true;
  }

  void expect(char c) {
    if (!accept(c)) reject(fmt::format("'{}'", c));
  }

  /// Letters, digits, `_` and `.`; may be empty.
  std::string_view word() {
    peek();
    const size_t start = at_;
    while (at_ < line_.size() && (std::isalnum(static_cast<unsigned char>(line_[at_])) ||
                                  line_[at_] == '_' || line_[at_] == '.')) {
      ++at_;
    }
    return line_.substr(start, at_ - start);
  }

  /// The text up to a comma or a closing bracket that is not within parentheses.
  std::string_view item() {
    peek();
    const size_t start = at_;
    for (size_t depth = 0; at_ < line_.size(); ++at_) {
      const char c = line_[at_];
      if (depth == 0 && std::string_view(",)]}#").find(c) != std::string_view::npos) break;
      if (c == '(') ++depth;
      if (c == ')') --depth;
    }
    return trim(line_.substr(start, at_ - start));
  }

  int id() {
    expect('%');
    int value = -1;
    const char* end = line_.data() + line_.size();
    const auto [stop, error] = std::from_chars(line_.data() + at_, end, value);
    if (error != std::errc() || value < 0 || value > kMaxId) {
      reject(fmt::format("a number from 0 to {} after '%'", kMaxId));
    }
    at_ = static_cast<size_t>(stop - line_.data());
    return value;
  }

  std::string string() {
    expect('"');
    std::string result;
    while (at_ < line_.size()) {
      const char c = line_[at_++];
      if (c == '"') return result;
      result += c == '\\' ? escape() : c;
    }
    reject("a closing '\"'");
  }

 private:
  char escape() {
    const char c = at_ < line_.size() ? line_[at_++] : '\0';
    if (c == '"' || c == '\\') return c;
    if (c == 'n') return '\n';
    unsigned byte = 0;
    if (c == 'x' && at_ + 2 <= line_.size()) {
      const auto [stop, error] =
          std::from_chars(line_.data() + at_, line_.data() + at_ + 2, byte, 16);
      if (error == std::errc() && stop == line_.data() + at_ + 2) {
        at_ += 2;
        return static_cast<char>(byte);
      }
    }
    reject(R"(one of \", \\, \n and \xHH)");
  }

  std::string_view line_;
  size_t number_;
  size_t at_ = 0;
};

std::optional<double> real_of(std::string_view text) {
  double value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stop != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Whether a number is written as a real, not as an integer.
bool is_real(std::string_view text) {
  if (text == "inf" || text == "-inf" || text == "nan") return true;
  return real_of(text) && text.find_first_of(".eE") != std::string_view::npos;
}

class Parser {
 public:
  explicit Parser(const OpTable& table) : table_(table) {}

  Graph run(std::string_view text) {
    size_t number = 0;
    while (!text.empty()) {
      const size_t end = std::min(text.find('\n'), text.size());
      Cursor cursor(text.substr(0, end), ++number);
      text.remove_prefix(std::min(end + 1, text.size()));
      if (!cursor.at_end()) read_line(cursor);
    }
    if (!has_header_) Cursor("", std::max<size_t>(number, 1)).reject(header());
    graph_.renumber(ids_);
    try {
      verify(graph_);
    } catch (const Error& error) {
      fail(ErrorCode::corrupt, kStage, kHint, "expected a sound graph, got {}", error.message());
    }
    return std::move(graph_);
  }

  Graph run_program(std::string_view text, std::span<const ValueType> inputs) {
    Cursor cursor(text, 1);
    for (size_t i = 0; i < inputs.size(); ++i) {
      define(cursor, static_cast<int>(i), graph_.add_input(std::to_string(i), inputs[i]));
    }
    Value* last = nullptr;
    try {
      do {
        const int id = cursor.id();
        cursor.expect('=');
        const Node* node = read_call(cursor, cursor.word());
        if (node->results.size() != 1) cursor.reject_text("expected calls of one result");
        last = node->results[0];
        define(cursor, id, last);
      } while (cursor.accept(';'));
    } catch (const Error& error) {
      if (error.stage() == kStage) throw;
      cursor.reject_text(fmt::format("[{}] {}", error.stage(), error.message()), error.hint());
    }
    cursor.expect_end();
    graph_.add_output("result", last);
    return std::move(graph_);
  }

 private:
  static std::string header() { return fmt::format("'{} {} \"NAME\"'", kHeader, kVersion); }

  void read_line(Cursor& cursor) {
    try {
      statement(cursor);
    } catch (const Error& error) {
      if (error.stage() == kStage) throw;
      // A rule of an operator, a dim or a dtype.
      cursor.reject_text(fmt::format("[{}] {}", error.stage(), error.message()), error.hint());
    }
    cursor.expect_end();
  }

  void statement(Cursor& cursor) {
    if (cursor.peek() == '%') return call(cursor);
    const std::string_view word = cursor.word();
    if (!has_header_) {
      if (word != kHeader) cursor.reject_text("expected " + header() + " first");
      const std::string_view version = cursor.word();
      if (version != std::to_string(kVersion)) {
        cursor.reject_text(fmt::format("expected version {}, got '{}'", kVersion, version),
                           "Write the graph anew with this version of ostinato.");
      }
      graph_.name = cursor.string();
      has_header_ = true;
    } else if (word == "input" || word == "state" || word == "constant") {
      leaf(cursor, word);
    } else if (word == "output") {
      std::string name = cursor.string();
      if (!output_names_.insert(name).second) reject_duplicate(cursor, "output", name);
      graph_.add_output(std::move(name), value(cursor));
    } else if (word.find('.') != std::string_view::npos || table_.find(word) != nullptr) {
      finish_call(cursor, {}, word);  // an operator without results
    } else {
      cursor.reject_text(
          fmt::format("expected input, constant, state, output or %ID, got '{}'", word));
    }
  }

  [[noreturn]] static void reject_duplicate(const Cursor& cursor, std::string_view kind,
                                            const std::string& name) {
    cursor.reject_text(fmt::format("there are two {}s named {}", kind, quote(name)),
                       "Give each a name of its own.");
  }

  void define(const Cursor& cursor, int id, Value* value) {
    const auto created = static_cast<size_t>(value->id);
    ids_.resize(std::max(ids_.size(), created + 1));
    ids_[created] = id;
    if (!values_.emplace(id, value).second) {
      cursor.reject_text(fmt::format("%{} is defined twice", id), "Give each value its own id.");
    }
  }

  Value* value(Cursor& cursor) {
    const int id = cursor.id();
    const auto found = values_.find(id);
    if (found == values_.end()) {
      cursor.reject_text(fmt::format("%{} is used before it is defined", id),
                         "Define values above their uses.");
    }
    return found->second;
  }

  static ValueType type(Cursor& cursor) {
    ValueType type;
    type.dtype = dtype_of(cursor.word());
    cursor.expect('(');
    type.shape = dims(cursor, ')');
    return type;
  }

  static Shape dims(Cursor& cursor, char close) {
    Shape shape;
    if (cursor.accept(close)) return shape;
    do {
      shape.push_back(Dim::parse(cursor.item()));
    } while (cursor.accept(','));
    cursor.expect(close);
    return shape;
  }

  void leaf(Cursor& cursor, std::string_view keyword) {
    const int id = cursor.id();
    std::string name;
    if (keyword != "constant" || cursor.peek() == '"') {
      name = cursor.string();
      auto& names = leaf_names_[std::string(keyword)];
      if (!names.insert(name).second) reject_duplicate(cursor, keyword, name);
    }
    cursor.expect(':');
    ValueType leaf_type = type(cursor);
    for (const Dim& dim : leaf_type.shape) {
      if (dim.is_constant() ? dim.value() < 0 : keyword == "constant") {
        cursor.reject_text(fmt::format("{} cannot be the size of a dim here", dim.str()),
                           "Sizes are at least zero, those of a constant integers.");
      }
    }
    numel(leaf_type.shape);  // throws when it does not fit in 64 bits
    if (keyword == "input") {
      define(cursor, id, graph_.add_input(std::move(name), std::move(leaf_type)));
    } else if (keyword == "state") {
      define(cursor, id, graph_.add_state(std::move(name), std::move(leaf_type)));
    } else {
      Tensor data;
      if (name.empty()) {
        cursor.expect('=');
        data = elements(cursor, leaf_type);
      }
      define(cursor, id, graph_.add_constant(std::move(name), std::move(leaf_type), data));
    }
  }

  static Tensor elements(Cursor& cursor, const ValueType& type) {
    const int64_t count = numel(type.shape).value();
    std::vector<std::string_view> items;
    cursor.expect('[');
    if (!cursor.accept(']')) {
      do {
        items.push_back(cursor.item());
      } while (cursor.accept(','));
      cursor.expect(']');
    }
    if (static_cast<int64_t>(items.size()) != count) {
      cursor.reject_text(fmt::format("expected {} elements, got {}", count, items.size()));
    }
    Tensor data = Tensor::empty(type.dtype, to_integers(type.shape));
    dispatch(type.dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      for (size_t i = 0; i < items.size(); ++i) data.as<T>()[i] = element<T>(cursor, items[i]);
    });
    return data;
  }

  template <typename T>
  static T element(const Cursor& cursor, std::string_view text) {
    const char* end = text.data() + text.size();
    if constexpr (std::is_same_v<T, bool>) {
      if (text == "true" || text == "false") return text == "true";
    } else {
      std::conditional_t<is_floating_v<T>, float, T> value{};
      const auto [stop, error] = std::from_chars(text.data(), end, value);
      if (error == std::errc() && stop == end) {
        if constexpr (is_floating_v<T>) {
          return from_float<T>(value);
        } else {
          return value;
        }
      }
    }
    cursor.reject_text(fmt::format("{} is not an element of the constant's dtype", quote(text)));
  }

  struct Result {
    int id;
    ValueType type;
  };

  void call(Cursor& cursor) {
    if (!has_header_) cursor.reject_text("expected " + header() + " first");
    std::vector<Result> results;
    do {
      const int id = cursor.id();
      cursor.expect(':');
      results.push_back({id, type(cursor)});
    } while (cursor.accept(','));
    cursor.expect('=');
    finish_call(cursor, results, cursor.word());
  }

  Node* read_call(Cursor& cursor, std::string_view op_name) {
    const OpRow& op = table_.at(op_name);
    std::vector<Value*> operands = read_operands(cursor, op);
    std::vector<Attribute> attributes = read_attributes(cursor, op);
    std::string source = cursor.accept('@') ? cursor.string() : "";
    Node* node = graph_.insert_node(nullptr, op, std::move(operands), std::move(attributes));
    node->source = std::move(source);
    return node;
  }

  void finish_call(Cursor& cursor, const std::vector<Result>& results, std::string_view op_name) {
    const Node* node = read_call(cursor, op_name);
    const OpRow& op = *node->op;
    if (node->results.size() != results.size()) {
      cursor.reject_text(fmt::format("expected {} results of {}, got {}", node->results.size(),
                                     op.name, results.size()));
    }
    for (size_t i = 0; i < results.size(); ++i) {
      if (node->results[i]->type != results[i].type) {
        cursor.reject_text(
            fmt::format("expected %{} to be {}, got {}", results[i].id,
                        to_string(node->results[i]->type), to_string(results[i].type)),
            "Types follow from the operands and attributes.");
      }
      define(cursor, results[i].id, node->results[i]);
    }
  }

  Value* operand(Cursor& cursor) {
    if (cursor.peek() == '%') return value(cursor);
    if (cursor.word() != "None") cursor.reject_text("expected %ID or None for an operand");
    return nullptr;
  }

  std::vector<Value*> read_operands(Cursor& cursor, const OpRow& op) {
    std::vector<Value*> operands;
    cursor.expect('(');
    for (const OperandSpec& spec : op.operands) {
      if (&spec != op.operands.data()) cursor.expect(',');
      if (spec.kind != OperandKind::list && spec.kind != OperandKind::optional_list) {
        operands.push_back(operand(cursor));
        continue;
      }
      cursor.expect('[');
      if (cursor.accept(']')) continue;
      do {
        operands.push_back(operand(cursor));
      } while (cursor.accept(','));
      cursor.expect(']');
    }
    cursor.expect(')');
    return operands;
  }

  static std::vector<Attribute> read_attributes(Cursor& cursor, const OpRow& op) {
    std::vector<std::optional<Attribute>> given(op.attributes.size());
    if (cursor.accept('{') && !cursor.accept('}')) {
      do {
        const std::string_view name = cursor.word();
        const auto spec = std::find_if(op.attributes.begin(), op.attributes.end(),
                                       [&](const AttrSpec& s) { return s.name == name; });
        if (spec == op.attributes.end()) {
          cursor.reject_text(fmt::format("{} has no attribute '{}'", op.name, name));
        }
        auto& slot = given[static_cast<size_t>(spec - op.attributes.begin())];
        if (slot) cursor.reject_text(fmt::format("the attribute '{}' is given twice", name));
        cursor.expect('=');
        slot = attribute(cursor, spec->kind);
      } while (cursor.accept(','));
      cursor.expect('}');
    }
    std::vector<Attribute> attributes;
    for (size_t i = 0; i < given.size(); ++i) {
      const AttrSpec& spec = op.attributes[i];
      if (!given[i] && !spec.fallback) {
        cursor.reject_text(
            fmt::format("expected {}'s attribute '{}', got none", op.name, spec.name));
      }
      attributes.push_back(given[i] ? *given[i] : *spec.fallback);
    }
    return attributes;
  }

  static Attribute attribute(Cursor& cursor, AttrKind kind) {
    if (cursor.peek() == '"' && kind == AttrKind::string) return cursor.string();
    if (kind == AttrKind::integers && cursor.accept('[')) return dims(cursor, ']');
    const std::string_view text = cursor.item();
    if (text == "None") return {};
    switch (kind) {
      case AttrKind::boolean:
      case AttrKind::scalar:
        if (text == "true" || text == "false") return text == "true";
        if (kind == AttrKind::scalar)
          return is_real(text) ? Attribute(*real_of(text)) : Attribute(Dim::parse(text));
        break;
      case AttrKind::integer: return Dim::parse(text);
      case AttrKind::real:
        if (const auto value = real_of(text)) return *value;
        break;
      case AttrKind::dtype: return dtype_of(text);
      case AttrKind::string:
      case AttrKind::integers: break;
    }
    cursor.reject_text(
        fmt::format("expected a value of kind {}, got {}", name_of(kind), quote(text)));
  }

  const OpTable& table_;
  Graph graph_;
  bool has_header_ = false;
  std::vector<int> ids_;  // in the text, by the id that the graph gave
  std::unordered_map<int, Value*> values_;
  std::unordered_map<std::string, std::unordered_set<std::string>> leaf_names_;
  std::unordered_set<std::string> output_names_;
};

}  // namespace

Graph parse(std::string_view text, const OpTable& table) { return Parser(table).run(text); }

Graph parse_program(std::string_view text, std::span<const ValueType> inputs,
                    const OpTable& table) {
  return Parser(table).run_program(text, inputs);
}

}  // namespace ostinato::ir
