#include "ostinato/passes/rules.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <unordered_set>

#include "ostinato/base/error.h"
#include "ostinato/ir/text.h"
#include "ostinato/passes/match.h"
#include "ostinato/passes/rewrite.h"

namespace ostinato::passes {

namespace {

using ir::Attribute;
using ir::Dim;
using ir::Graph;
using ir::Node;
using ir::Shape;
using ir::Value;
using ir::ValueKind;
using Symbols = std::map<std::string, Dim>;

/// The name of a dim that is one symbol and nothing else.
std::optional<std::string> symbol_of(const Dim& dim) {
  std::vector<std::string> names;
  dim.collect_symbols(names);
  if (names.size() != 1 || !(Dim::symbol(names[0]) == dim)) return std::nullopt;
  return names[0];
}

/// The number that an attribute is, if it is one and no symbol.
std::optional<double> literal_of(const Attribute& attribute) {
  const Dim* integer = std::get_if<Dim>(&attribute);
  const bool is_number =
      integer != nullptr ? integer->is_constant() : std::holds_alternative<double>(attribute);
  return is_number ? std::optional(ir::number_of<double>(attribute)) : std::nullopt;
}

/// The scalar that an attribute of the rule stands for, if it does.
const std::string* scalar_named(const Rule& rule, const Attribute& attribute) {
  const std::optional<double> number = literal_of(attribute);
  if (!number) return nullptr;
  for (const auto& [name, value] : rule.scalars) {
    if (value == *number) return &name;
  }
  return nullptr;
}

bool commutes(const Node& node) {
  const std::string_view name = node.op->name;
  return is_plain_sum(node) || one_of(name, {"aten.mul.Tensor", "aten.maximum", "aten.minimum"});
}

/// Searches for the calls of a rule, from the one that makes its first output.
class Search {
 public:
  Search(const Rule& rule, const Node* root) : rule_(rule) {
    const Value* first = rule.search->outputs()[0].value;
    found_ = value(first, root->results[static_cast<size_t>(first->index)]);
  }

  bool found() const { return found_; }
  /// What stands for an input or an output of the rule.
  Value* at(const Value* value) const {
    return value->producer == nullptr
               ? state_.inputs.at(value)
               : state_.nodes.at(value->producer)->results[static_cast<size_t>(value->index)];
  }
  const std::unordered_map<const Node*, Node*>& nodes() const { return state_.nodes; }
  const Symbols& symbols() const { return state_.symbols; }
  const std::map<std::string, Attribute>& scalars() const { return state_.scalars; }

 private:
  struct State {
    std::unordered_map<const Value*, Value*> inputs;
    std::unordered_map<const Node*, Node*> nodes;
    Symbols symbols;
    std::map<std::string, Attribute> scalars;
  };

  bool dim(const Dim& wanted, const Dim& given) {
    const std::optional<std::string> name = symbol_of(wanted);
    return name ? state_.symbols.emplace(*name, given).first->second == given : wanted == given;
  }

  bool dims(const Shape& wanted, const Shape& given) {
    if (wanted.size() != given.size()) return false;
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (!dim(wanted[i], given[i])) return false;
    }
    return true;
  }

  bool attribute(const Attribute& wanted, const Attribute& given) {
    if (const std::string* scalar = scalar_named(rule_, wanted)) {
      const std::optional<double> number = literal_of(given);
      return number && literal_of(state_.scalars.emplace(*scalar, given).first->second) == number;
    }
    const Dim* one = std::get_if<Dim>(&wanted);
    if (const Dim* other = std::get_if<Dim>(&given); one != nullptr && other != nullptr) {
      return dim(*one, *other);
    }
    const Shape* shape = std::get_if<Shape>(&wanted);
    if (const Shape* other = std::get_if<Shape>(&given); shape != nullptr && other != nullptr) {
      return dims(*shape, *other);
    }
    return wanted == given;
  }

  bool value(const Value* wanted, Value* given) {
    if (wanted == nullptr || given == nullptr) return wanted == given;
    switch (wanted->kind) {
      case ValueKind::input: {
        const auto [bound, is_new] = state_.inputs.emplace(wanted, given);
        if (!is_new) return bound->second == given;
        return wanted->dtype() == given->dtype() && dims(wanted->shape(), given->shape());
      }
      case ValueKind::constant:
        return given->kind == ValueKind::constant && given->type == wanted->type &&
               given->data.defined() &&
               std::memcmp(given->data.data(), wanted->data.data(), wanted->data.bytes()) == 0;
      case ValueKind::state: return false;
      case ValueKind::result: break;
    }
    return given->kind == ValueKind::result && given->index == wanted->index &&
           node(wanted->producer, given->producer);
  }

  bool node(const Node* wanted, Node* given) {
    const auto known = state_.nodes.find(wanted);
    if (known != state_.nodes.end()) return known->second == given;
    if (wanted->op != given->op || wanted->operands.size() != given->operands.size()) return false;
    for (size_t i = 0; i < wanted->attributes.size(); ++i) {
      if (!attribute(wanted->attributes[i], given->attributes[i])) return false;
    }
    state_.nodes.emplace(wanted, given);
    const State before = state_;
    if (operands(*wanted, *given, false)) return true;
    if (!commutes(*wanted)) return false;
    state_ = before;
    return operands(*wanted, *given, true);
  }

  bool operands(const Node& wanted, const Node& given, bool swapped) {
    for (size_t i = 0; i < wanted.operands.size(); ++i) {
      const size_t other = swapped ? wanted.operands.size() - 1 - i : i;
      if (!value(wanted.operands[i], given.operands[other])) return false;
    }
    return true;
  }

  const Rule& rule_;
  State state_;
  bool found_ = false;
};

/// Puts a replacement in the place of what was found.
class Application {
 public:
  Application(Graph& graph, const Rule& rule, Node* root, const Search& search)
      : graph_(graph), rule_(rule), root_(root), search_(search) {
    for (const auto& entry : search.nodes()) found_.insert(entry.second);
    for (const auto& output : rule.search->outputs()) outputs_.insert(search.at(output.value));
  }

  /// Whether what was found can go: nothing else reads it, and no write comes between.
  bool fits() const {
    for (const Node* node : found_) {
      for (const Value* result : node->results) {
        if (outputs_.count(result) > 0) {
          if (result->producer != root_ && !is_read_after_root(result)) return false;
        } else if (result->output_uses > 0 || !is_read_by_found(result)) {
          return false;
        }
      }
    }
    for (const Value* input : rule_.search->inputs()) {
      if (shares_state(search_.at(input)) && writes_between(first_found(), *root_)) return false;
    }
    return !rule_.check || rule_.check(match());
  }

  void apply() {
    std::unordered_map<const Value*, Value*> made;
    for (const Value* input : rule_.replacement->inputs()) {
      made[input] = search_.at(input_named(*rule_.search, input->name));
    }
    for (const Value* constant : rule_.replacement->constants()) {
      made[constant] = graph_.add_constant("", constant->type, constant->data);
    }
    for (const auto& node : rule_.replacement->nodes()) {
      std::vector<Value*> operands;
      for (const Value* operand : node->operands) {
        operands.push_back(operand == nullptr ? nullptr : made.at(operand));
      }
      Node* call = insert(*node, std::move(operands));
      for (size_t i = 0; i < node->results.size(); ++i) made[node->results[i]] = call->results[i];
    }
    for (size_t i = 0; i < rule_.search->outputs().size(); ++i) {
      put(search_.at(rule_.search->outputs()[i].value),
          made.at(rule_.replacement->outputs()[i].value));
    }
    erase_found();
  }

 private:
  static const Value* input_named(const Graph& graph, const std::string& name) {
    const auto& inputs = graph.inputs();
    return *std::find_if(inputs.begin(), inputs.end(),
                         [&](const Value* input) { return input->name == name; });
  }

  RuleMatch match() const {
    RuleMatch match;
    for (const Value* input : rule_.search->inputs()) {
      match.inputs.emplace(input->name, search_.at(input));
    }
    for (const auto& [name, attribute] : search_.scalars()) {
      match.scalars.emplace(name, *literal_of(attribute));
    }
    return match;
  }

  bool is_read_by_found(const Value* value) const {
    return std::all_of(value->uses.begin(), value->uses.end(),
                       [this](const Value::Use& use) { return found_.count(use.node) > 0; });
  }

  /// What is found there is made at the root from now on.
  bool is_read_after_root(const Value* value) const {
    std::unordered_set<const Node*> before;
    for (auto it = value->producer->position; it != root_->position; ++it) before.insert(it->get());
    return std::none_of(value->uses.begin(), value->uses.end(), [&](const Value::Use& use) {
      return before.count(use.node) > 0 && found_.count(use.node) == 0;
    });
  }

  const Node& first_found() const {
    const auto& nodes = graph_.nodes();
    return **std::find_if(nodes.begin(), nodes.end(),
                          [this](const auto& node) { return found_.count(node.get()) > 0; });
  }

  Attribute filled_in(const Attribute& attribute) const {
    if (const std::string* scalar = scalar_named(rule_, attribute)) {
      return search_.scalars().at(*scalar);
    }
    const auto fill_in = [this](const Dim& dim) {
      const std::optional<std::string> name = symbol_of(dim);
      return name ? search_.symbols().at(*name) : dim;
    };
    if (const Dim* dim = std::get_if<Dim>(&attribute)) return fill_in(*dim);
    if (const Shape* shape = std::get_if<Shape>(&attribute)) {
      Shape result;
      std::transform(shape->begin(), shape->end(), std::back_inserter(result), fill_in);
      return result;
    }
    return attribute;
  }

  Node* insert(const Node& node, std::vector<Value*> operands) {
    std::vector<Attribute> attributes;
    for (const Attribute& attribute : node.attributes) attributes.push_back(filled_in(attribute));
    try {
      Node* call = graph_.insert_node(root_, *node.op, std::move(operands), std::move(attributes));
      call->source = root_->source;
      return call;
    } catch (const Error& error) {
      fail(ErrorCode::invalid_argument, "passes/rules",
           fmt::format("{} Or let the rule's check refuse such values.", error.hint()),
           "the replacement of rule '{}' does not take what was found: {}", rule_.name,
           error.message());
    }
  }

  void put(Value* old_value, Value* new_value) {
    if (old_value->type != new_value->type) {
      fail(ErrorCode::invalid_argument, "passes/rules",
           "Let the replacement give what it replaces, or the rule's check refuse such values.",
           "rule '{}' would replace {} by {}", rule_.name, to_string(old_value->type),
           to_string(new_value->type));
    }
    graph_.replace_all_uses(old_value, new_value);
  }

  /// Readers first: they stand later.
  void erase_found() {
    std::vector<Node*> nodes;
    for (auto it = std::next(root_->position); it != graph_.nodes().begin();) {
      Node* node = (--it)->get();
      if (found_.count(node) > 0) nodes.push_back(node);
      if (nodes.size() == found_.size()) break;
    }
    for (Node* node : nodes) graph_.erase(node);
  }

  Graph& graph_;
  const Rule& rule_;
  Node* root_;
  const Search& search_;
  std::unordered_set<const Node*> found_;
  std::unordered_set<const Value*> outputs_;
};

// What is wrong with a rule.

template <typename... Args>
[[noreturn]] void refuse(const Rule& rule, std::string_view hint, fmt::format_string<Args...> text,
                         Args&&... args) {
  fail(ErrorCode::invalid_argument, "passes/rules", hint, "rule '{}': {}", rule.name,
       fmt::format(text, std::forward<Args>(args)...));
}

void require_plain_dim(const Rule& rule, const Dim& dim) {
  if (dim.is_constant() || symbol_of(dim)) return;
  refuse(rule, "Give it a symbol of its own.", "expected integers and symbols alone, got {}",
         dim.str());
}

void require_plain_dims(const Rule& rule, const Attribute& attribute) {
  if (const Dim* dim = std::get_if<Dim>(&attribute)) require_plain_dim(rule, *dim);
  if (const Shape* shape = std::get_if<Shape>(&attribute)) {
    for (const Dim& dim : *shape) require_plain_dim(rule, dim);
  }
}

/// What both sides must be.
void check_side(const Rule& rule, const Graph& graph, std::string_view side) {
  if (!graph.states().empty()) {
    refuse(rule, "Pass what they hold as inputs.", "the {} has states", side);
  }
  for (const Value* input : graph.inputs()) {
    for (const Dim& dim : input->shape()) require_plain_dim(rule, dim);
  }
  for (const Value* constant : graph.constants()) {
    if (constant->data.defined()) continue;
    refuse(rule, "Give Graph::parse the constants.", "the constant '{}' of the {} has no elements",
           constant->name, side);
  }
  for (const auto& node : graph.nodes()) {
    if (node->op->traits.random || node->op->traits.writes()) {
      refuse(rule, "Leave it out.", "the {} calls {}, which is random or overwrites a state", side,
             node->op->name);
    }
    for (const Attribute& attribute : node->attributes) require_plain_dims(rule, attribute);
  }
}

void collect_calls(const Value* value, std::unordered_set<const Node*>& calls) {
  const Node* node = value->producer;
  if (node == nullptr || !calls.insert(node).second) return;
  for (const Value* operand : node->operands) {
    if (operand != nullptr) collect_calls(operand, calls);
  }
}

void check_search(const Rule& rule) {
  const Graph& search = *rule.search;
  if (search.outputs().empty() || search.nodes().empty()) {
    refuse(rule, "Search for at least one call.", "there is nothing to search for");
  }
  for (const auto& output : search.outputs()) {
    if (output.value->producer != nullptr) continue;
    refuse(rule, "Give out results of calls.", "the output '{}' of the search is no result",
           output.name);
  }
  std::unordered_set<const Node*> calls;
  collect_calls(search.outputs()[0].value, calls);
  for (const auto& node : search.nodes()) {
    if (calls.count(node.get()) > 0) continue;
    refuse(rule, "Make the value that all else leads to the first output.",
           "the first output of the search does not depend on its call of {}", node->op->name);
  }
  for (const Value* input : search.inputs()) {
    if (!input->uses.empty()) continue;
    refuse(rule, "Leave it out.", "nothing reads the input '{}' of the search", input->name);
  }
  for (const auto& [name, value] : rule.scalars) {
    const bool stands = std::any_of(
        search.nodes().begin(), search.nodes().end(), [&, value = value](const auto& node) {
          return std::any_of(node->attributes.begin(), node->attributes.end(),
                             [value](const Attribute& a) { return literal_of(a) == value; });
        });
    if (!stands) {
      refuse(rule, "Give it the number that it has there.",
             "no attribute of the search is {}, the scalar '{}'", value, name);
    }
  }
}

void check_replacement(const Rule& rule) {
  const Graph &search = *rule.search, &replacement = *rule.replacement;
  for (const Value* input : replacement.inputs()) {
    const auto& known = search.inputs();
    const auto found = std::find_if(known.begin(), known.end(),
                                    [&](const Value* other) { return other->name == input->name; });
    if (found == known.end()) {
      refuse(rule, "Name the inputs as the search does.",
             "the search has no input '{}' for the replacement", input->name);
    }
    if ((*found)->type != input->type) {
      refuse(rule, "Give both the same type.",
             "the input '{}' is {} in the search, and {} in the "
             "replacement",
             input->name, to_string((*found)->type), to_string(input->type));
    }
  }
  if (replacement.outputs().size() != search.outputs().size()) {
    refuse(rule, "Give one for each.", "the search has {} outputs, the replacement {}",
           search.outputs().size(), replacement.outputs().size());
  }
  for (size_t i = 0; i < search.outputs().size(); ++i) {
    const Value *from = search.outputs()[i].value, *to = replacement.outputs()[i].value;
    if (from->type == to->type) continue;
    refuse(rule, "Give what is replaced.",
           "output {} is {} in the search, and {} in the "
           "replacement",
           i, to_string(from->type), to_string(to->type));
  }
  const std::vector<std::string> symbols = search.symbols();
  for (const std::string& symbol : replacement.symbols()) {
    if (std::find(symbols.begin(), symbols.end(), symbol) != symbols.end()) continue;
    refuse(rule, "Use those of the search.", "only the replacement has the symbol '{}'", symbol);
  }
}

}  // namespace

void check_rule(const Rule& rule) {
  check_side(rule, *rule.search, "search");
  check_side(rule, *rule.replacement, "replacement");
  check_search(rule);
  check_replacement(rule);
}

bool apply_rules(Graph& graph, const std::vector<Rule>& rules) {
  bool changed = false;
  for (auto it = graph.nodes().begin(); it != graph.nodes().end();) {
    Node* root = (it++)->get();
    for (const Rule& rule : rules) {
      if (rule.search->outputs()[0].value->producer->op != root->op) continue;
      const Search search(rule, root);
      if (!search.found()) continue;
      Application application(graph, rule, root, search);
      if (!application.fits()) continue;
      application.apply();
      changed = true;
      break;
    }
  }
  return changed;
}

}  // namespace ostinato::passes
