#include "ostinato/cli/explain.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "ostinato/base/error.h"
#include "ostinato/cli/output.h"
#include "ostinato/ir/text.h"

namespace ostinato::cli {

namespace {

using ir::Node;
using ir::Value;

std::optional<int> id_of(std::string_view text) {
  if (!text.empty() && text.front() == '%') text.remove_prefix(1);
  int id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return id;
}

bool is_meant(const Node& node, const std::string& what, std::optional<int> id) {
  if (id) {
    return std::any_of(node.results.begin(), node.results.end(),
                       [&](const Value* result) { return result->id == *id; });
  }
  if (node.op->name == what || node.source == what) return true;
  return std::any_of(node.operands.begin(), node.operands.end(), [&](const Value* operand) {
    return operand != nullptr && operand->producer == nullptr && operand->name == what;
  });
}

constexpr std::string_view kKinds[] = {"input", "constant", "state", "result"};

std::string describe(const Value* value) {
  if (value == nullptr) return "None";
  const std::string type = ir::to_string(value->type);
  if (value->producer != nullptr) {
    return fmt::format("%{} : {}, result of {}", value->id, type, value->producer->op->name);
  }
  const std::string name = value->name.empty() ? "" : fmt::format(" \"{}\"", value->name);
  return fmt::format("%{}{} : {}, {}", value->id, name, type,
                     kKinds[static_cast<size_t>(value->kind)]);
}

/// The call as it was, and how it came to be; adds the sources of all that it was made of.
Json derivation(const Node& node, const passes::History& history, Json& sources) {
  if (!node.source.empty() &&
      std::find(sources.begin(), sources.end(), node.source) == sources.end()) {
    sources.push_back(node.source);
  }
  Json result = {{"call", ir::to_string(node)}};
  const passes::Origin* origin = history.origin(node.results[0]->id);
  if (origin == nullptr) return result;
  result["made_by"] = origin->pass;
  result["round"] = origin->round;
  result["made_of"] = Json::array();
  for (const Node* call : origin->calls) {
    result["made_of"].push_back(derivation(*call, history, sources));
  }
  return result;
}

void print_derivation(const Json& call, const std::string& indent) {
  if (!call.contains("made_by")) return;
  const bool is_known = !call["made_of"].empty();
  output("{}made by {} in round {}{}\n", indent, call["made_by"].get<std::string>(),
         call["round"].get<int>(), is_known ? " of" : "");
  for (const Json& part : call["made_of"]) {
    output("{}  {}\n", indent, part["call"].get<std::string>());
    print_derivation(part, indent + "    ");
  }
}

}  // namespace

Json explain_call(const Node& node, const passes::History& history) {
  Json sources = Json::array(), operands = Json::array(), readers = Json::array();
  for (const Value* operand : node.operands) operands.push_back(describe(operand));
  for (const Value* result : node.results) {
    for (const Value::Use& use : result->uses) {
      readers.push_back(describe(use.node->results[0]));
    }
    if (result->output_uses > 0) readers.push_back("the caller");
  }
  Json explanation = derivation(node, history, sources);
  explanation["operands"] = std::move(operands);
  explanation["read_by"] = std::move(readers);
  explanation["sources"] = std::move(sources);
  return explanation;
}

Json explain(const ir::Graph& graph, const passes::History& history, const std::string& what) {
  const std::optional<int> id = id_of(what);
  Json calls = Json::array();
  for (const auto& node : graph.nodes()) {
    if (is_meant(*node, what, id)) calls.push_back(explain_call(*node, history));
  }
  if (calls.empty()) {
    fail(ErrorCode::not_found, "cli/--explain",
         "Print the graph for the ids, operators and sources there are: ostinato inspect MODEL.",
         "no call of the graph is, reads or comes from '{}'", what);
  }
  return calls;
}

void print_explanation(const Json& calls) {
  for (const Json& call : calls) {
    output("{}\n", call["call"].get<std::string>());
    for (const Json& source : call["sources"]) output("  from {}\n", source.get<std::string>());
    for (const Json& operand : call["operands"]) {
      output("  reads {}\n", operand.get<std::string>());
    }
    for (const Json& reader : call["read_by"]) {
      output("  read by {}\n", reader.get<std::string>());
    }
    print_derivation(call, "  ");
  }
}

}  // namespace ostinato::cli
