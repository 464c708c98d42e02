#include "ostinato/ir/verifier.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "ostinato/base/error.h"
#include "ostinato/ir/text.h"

namespace ostinato::ir {

namespace {

template <typename... Args>
[[noreturn]] void broken(std::string_view rule, fmt::format_string<Args...> message,
                         Args&&... args) {
  fail(ErrorCode::internal, "ir/verifier", "Report this as a defect, with the graph's text.",
       "{}: {}", rule, fmt::format(message, std::forward<Args>(args)...));
}

class Verifier {
 public:
  explicit Verifier(const Graph& graph) : graph_(graph) {}

  void run() {
    check_leaves(graph_.inputs(), ValueKind::input, "input");
    check_leaves(graph_.constants(), ValueKind::constant, "constant");
    check_leaves(graph_.states(), ValueKind::state, "state");
    for (const Value* state : graph_.states()) snapshots_[state] = {state, 0};
    for (const auto& node : graph_.nodes()) {
      check_operands_defined(*node);
      check_call(*node);
      check_states(*node);
      define_results(*node);
    }
    check_outputs();
    for (const auto& [value, count] : reads_) check_uses(*value, count);
  }

 private:
  void check_leaves(const std::vector<Value*>& values, ValueKind kind, std::string_view word) {
    std::unordered_set<std::string_view> names;
    for (const Value* value : values) {
      if (value->kind != kind || value->producer != nullptr) {
        broken("leaf", "%{} is among the {}s but is of another kind", value->id, word);
      }
      const bool named = kind != ValueKind::constant || !value->name.empty();
      if (named && !names.insert(value->name).second) {
        broken("unique name", "two {}s are named '{}'", word, value->name);
      }
      define(*value);
      if (!value->data.defined()) continue;
      const auto& sizes = value->data.shape();
      const ValueType got{value->data.dtype(), Shape(sizes.begin(), sizes.end())};
      if (kind != ValueKind::constant || got != value->type) {
        broken("constant data", "%{} '{}' is of type {}, its data of {}", value->id, value->name,
               to_string(value->type), to_string(got));
      }
    }
  }

  void define(const Value& value) {
    if (!ids_.insert(value.id).second) broken("unique id", "two values are %{}", value.id);
    reads_.emplace(&value, 0);
  }

  void check_operands_defined(const Node& node) {
    for (size_t i = 0; i < node.operands.size(); ++i) {
      if (node.operands[i] == nullptr) continue;
      // Nothing of the operand is read before it is known to be alive.
      const auto found = reads_.find(node.operands[i]);
      if (found == reads_.end()) {
        broken("order", "operand {} of a {} is not defined above it", i, node.op->name);
      }
      ++found->second;
    }
  }

  static void check_call(const Node& node) {
    std::vector<ValueType> types;
    try {
      check_operands(*node.op, node.operands);
      check_attributes(*node.op, node.attributes);
      types = node.op->infer(node);
    } catch (const Error& error) {
      broken("row", "{}: [{}] {}", to_string(node), error.stage(), error.message());
    }
    if (types.size() != node.results.size()) {
      broken("results", "{}: expected {} results", to_string(node), types.size());
    }
    for (size_t i = 0; i < types.size(); ++i) {
      if (node.results[i]->type != types[i]) {
        broken("types", "{}: expected result {} to be {}", to_string(node), i, to_string(types[i]));
      }
    }
  }

  /// A state's contents at some point: version 0 is what it holds at the beginning.
  struct Snapshot {
    const Value* state;
    size_t version;
  };

  void check_current(const Value& value, std::string_view reader) const {
    const auto found = snapshots_.find(&value);
    if (found == snapshots_.end()) return;
    const auto& [state, version] = found->second;
    if (version == current(state)) return;
    broken("linear state", "{} reads %{}, which state '{}' no longer holds", reader, value.id,
           state->name);
  }

  size_t current(const Value* state) const {
    const auto found = versions_.find(state);
    return found == versions_.end() ? 0 : found->second;
  }

  void check_states(const Node& node) {
    for (const Value* operand : node.operands) {
      if (operand != nullptr) check_current(*operand, node.op->name);
    }
    const OpTraits& traits = node.op->traits;
    for (size_t i = 0; i < traits.mutates.size(); ++i) {
      const Value* target = node.overwritten(i);
      const bool is_state =
          target->kind == ValueKind::state ||
          (target->kind == ValueKind::result &&
           target->producer->overwritten(static_cast<size_t>(target->index)) != nullptr);
      if (!is_state) broken("mutation", "{} overwrites what is not a state", to_string(node));
      check_current(*target, node.op->name);  // that no other operand is the same state
      const Value* state = snapshots_.at(target).state;
      snapshots_[node.results.at(i)] = {state, ++versions_[state]};
    }
    if (traits.view) {
      const auto base = snapshots_.find(node.operands.at(0));
      if (base == snapshots_.end()) return;
      for (const Value* result : node.results) snapshots_[result] = base->second;
    }
  }

  void define_results(const Node& node) {
    for (size_t i = 0; i < node.results.size(); ++i) {
      const Value& result = *node.results[i];
      if (result.kind != ValueKind::result || result.producer != &node ||
          result.index != static_cast<int>(i)) {
        broken("results", "{}: result {} does not belong to it", to_string(node), i);
      }
      define(result);
    }
    nodes_.insert(&node);
  }

  void check_outputs() {
    std::unordered_map<const Value*, size_t> counts;
    std::unordered_set<std::string_view> names;
    for (const Output& output : graph_.outputs()) {
      if (!reads_.contains(output.value)) {
        broken("outputs", "output '{}' is not a value of the graph", output.name);
      }
      if (!names.insert(output.name).second) {
        broken("unique name", "two outputs are named '{}'", output.name);
      }
      check_current(*output.value, fmt::format("output '{}'", output.name));
      ++counts[output.value];
    }
    for (const auto& entry : reads_) {
      if (entry.first->output_uses != counts[entry.first]) {
        broken("uses", "%{} is {} outputs, not {}", entry.first->id, counts[entry.first],
               entry.first->output_uses);
      }
    }
  }

  void check_uses(const Value& value, size_t count) const {
    std::vector<std::pair<const Node*, size_t>> uses;
    for (const Value::Use& use : value.uses) {
      if (!nodes_.contains(use.node) || use.operand >= use.node->operands.size() ||
          use.node->operands[use.operand] != &value) {
        broken("uses", "%{} has a use that is not one", value.id);
      }
      uses.emplace_back(use.node, use.operand);
    }
    std::sort(uses.begin(), uses.end());
    const bool twice = std::adjacent_find(uses.begin(), uses.end()) != uses.end();
    if (twice || uses.size() != count) {
      broken("uses", "%{} is read {} times, its list of uses has {}", value.id, count, uses.size());
    }
  }

  const Graph& graph_;
  std::unordered_map<const Value*, size_t> reads_;  // of every value defined so far: by operands
  std::unordered_set<int> ids_;
  std::unordered_set<const Node*> nodes_;
  std::unordered_map<const Value*, Snapshot> snapshots_;  // what shares a state's memory
  std::unordered_map<const Value*, size_t> versions_;     // of states that were overwritten
};

}  // namespace

void verify(const Graph& graph) { Verifier(graph).run(); }

}  // namespace ostinato::ir
