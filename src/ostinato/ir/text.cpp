#include "ostinato/ir/text.h"

#include <unordered_map>
#include <unordered_set>

#include "ostinato/base/dtype.h"
#include "ostinato/base/error.h"

namespace ostinato::ir {

namespace {

constexpr int64_t kInlineElements = 64;

bool is_inline(const Value* constant) {
  return constant->name.empty() && constant->data.defined() &&
         constant->data.numel() <= kInlineElements;
}

std::string id_of(const Value* value) {
  return value == nullptr ? "None" : fmt::format("%{}", value->id);
}

std::string elements(const Tensor& data) {
  std::string text = "[";
  dispatch(data.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t i = 0; i < data.numel(); ++i) {
      if (i > 0) text += ", ";
      const T value = data.as<T>()[i];
      if constexpr (is_floating_v<T>) {
        text += real_to_string(to_float(value));
      } else if constexpr (std::is_same_v<T, bool>) {
        text += value ? "true" : "false";
      } else {
        text += std::to_string(value);
      }
    }
  });
  return text + "]";
}

std::string leaf(std::string_view keyword, const Value* value, const std::string& name) {
  std::string text = fmt::format("{} %{}", keyword, value->id);
  if (!name.empty()) text += fmt::format(" {}", quote(name));
  return text + fmt::format(" : {}", to_string(value->type));
}

std::string operands_of(const Node& node) {
  std::string text;
  size_t next = 0;
  const size_t list_length = node.operands.size() + 1 - node.op->operands.size();
  for (const OperandSpec& spec : node.op->operands) {
    if (next > 0 || &spec != node.op->operands.data()) text += ", ";
    if (spec.kind != OperandKind::list && spec.kind != OperandKind::optional_list) {
      text += id_of(node.operands[next++]);
      continue;
    }
    text += '[';
    for (size_t i = 0; i < list_length; ++i) {
      text += (i > 0 ? ", " : "") + id_of(node.operands[next++]);
    }
    text += ']';
  }
  return text;
}

std::string attributes_of(const Node& node) {
  std::string text;
  for (size_t i = 0; i < node.attributes.size(); ++i) {
    const AttrSpec& spec = node.op->attributes[i];
    std::string value = to_string(node.attributes[i]);
    if (spec.fallback && value == to_string(*spec.fallback)) continue;
    text += fmt::format("{}{}={}", text.empty() ? " {" : ", ", spec.name, value);
  }
  return text.empty() ? text : text + "}";
}

}  // namespace

std::string to_string(const ValueType& type) {
  return fmt::format("{}{}", name_of(type.dtype), to_string(type.shape));
}

std::string to_string(const Node& node) {
  std::string text;
  for (const Value* result : node.results) {
    text +=
        fmt::format("{}%{} : {}", text.empty() ? "" : ", ", result->id, to_string(result->type));
  }
  text += fmt::format("{}{}({}){}", text.empty() ? "" : " = ", node.op->name, operands_of(node),
                      attributes_of(node));
  if (!node.source.empty()) text += " @ " + quote(node.source);
  return text;
}

std::vector<std::pair<std::string, const Value*>> external_constants(const Graph& graph) {
  std::unordered_set<std::string_view> taken;
  for (const Value* constant : graph.constants()) taken.insert(constant->name);
  std::vector<std::pair<std::string, const Value*>> result;
  for (const Value* constant : graph.constants()) {
    if (is_inline(constant)) continue;
    std::string name = constant->name;
    if (name.empty()) {
      name = fmt::format("constant.{}", constant->id);
      while (taken.contains(name)) name += '_';
    }
    result.emplace_back(std::move(name), constant);
  }
  return result;
}

std::string print(const Graph& graph) {
  std::string text = fmt::format("ostinato.graph 1 {}\n", quote(graph.name));
  for (const Value* input : graph.inputs()) text += leaf("input", input, input->name) + '\n';
  std::unordered_map<const Value*, std::string> names;
  for (auto& [name, constant] : external_constants(graph)) names.emplace(constant, name);
  for (const Value* constant : graph.constants()) {
    const auto external = names.find(constant);
    text += external != names.end()
                ? leaf("constant", constant, external->second)
                : leaf("constant", constant, "") + " = " + elements(constant->data);
    text += '\n';
  }
  for (const Value* state : graph.states()) text += leaf("state", state, state->name) + '\n';
  for (const auto& node : graph.nodes()) text += to_string(*node) + '\n';
  for (const Output& output : graph.outputs()) {
    text += fmt::format("output {} {}\n", quote(output.name), id_of(output.value));
  }
  return text;
}

std::string print_program(const Graph& graph) {
  std::string text;
  for (const auto& node : graph.nodes()) {
    text += fmt::format("{}%{} = {}({}){}", text.empty() ? "" : "; ", node->results[0]->id,
                        node->op->name, operands_of(*node), attributes_of(*node));
  }
  return text;
}

void attach_constants(Graph& graph, const std::function<Tensor(const std::string& name)>& lookup) {
  constexpr std::string_view kStage = "ir/constants";
  for (Value* constant : graph.constants()) {
    if (constant->data.defined()) continue;
    Tensor data = lookup(constant->name);
    if (!data.defined()) {
      fail(ErrorCode::not_found, kStage, "Use the weights that belong to this graph.",
           "expected a tensor '{}' of {}, got none", constant->name, to_string(constant->type));
    }
    const ValueType got{data.dtype(), Shape(data.shape().begin(), data.shape().end())};
    if (got != constant->type) {
      fail(ErrorCode::corrupt, kStage, "Use the weights that belong to this graph.",
           "expected {} for '{}', got {}", to_string(constant->type), constant->name,
           to_string(got));
    }
    constant->data = std::move(data);
  }
}

}  // namespace ostinato::ir
