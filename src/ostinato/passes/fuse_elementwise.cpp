#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "ostinato/ir/text.h"
#include "ostinato/ops/fused_elementwise.h"
#include "ostinato/ops/reduce.h"
#include "ostinato/passes/pass.h"
#include "ostinato/passes/rewrite.h"

// Connected elementwise calls as one loop, in which what one call hands to the next stays in the
// cache; and a reduction at their end.
namespace ostinato::passes {

namespace {

using ir::Node;
using ir::Value;
using Positions = std::unordered_map<const Node*, size_t>;  // of calls that run: views do not

constexpr size_t kMostOperands = 8;
constexpr size_t kMostCalls = 32;  // within the L1 cache however many values wait for each other

bool shows_state(const Node& node) {
  return std::any_of(node.operands.begin(), node.operands.end(), shares_state);
}

/// Whether a call's operand shows the elements in another order than they lie: copying such a one
/// is better done tile by tile of both dims.
bool turns(const Node& node) {
  if (!one_of(node.op->name, {"aten._to_copy", "aten.clone", "aten.lift_fresh_copy"})) return false;
  for (const Value* value = node.operands[0]; value->kind == ir::ValueKind::result;) {
    const Node& view = *value->producer;
    if (!view.op->traits.view) return false;
    if (permutation_of(view)) return true;
    value = view.operands[0];
  }
  return false;
}

/// Calls that become one: the last one and, before it, what nothing else reads.
class Group {
 public:
  Group(Node* root, const Positions& positions)
      : positions_(positions), root_(root), calls_{root}, members_{root} {
    const bool reduces = !root->op->traits.elementwise;
    shape_ = reduces ? root->operands[0]->shape() : root->results[0]->shape();
    add_operands(*root);
    while (calls_.size() < kMostCalls) {
      Node* next = nearest();
      if (next == nullptr) break;
      calls_.push_back(next);
      members_.insert(next);
      operands_.erase(std::find(operands_.begin(), operands_.end(), next->results[0]));
      add_operands(*next);
    }
  }

  /// Whether one loop is faster than the calls one by one: of a few thousand elements, which stay
  /// in the cache anyway, a few calls take less time than their tiles' book-keeping.
  bool pays() const {
    constexpr int64_t kFewElements = 4096;
    constexpr size_t kFewCalls = 3;
    const ir::Dim elements = numel(shape_);
    const bool small = elements.is_constant() && elements.value() <= kFewElements;
    const bool reduces = !root_->op->traits.elementwise;
    return calls_.size() > (small && !reduces ? kFewCalls : 1);
  }
  const std::unordered_set<const Node*>& members() const { return members_; }

  void fuse(ir::Graph& graph) {
    std::sort(calls_.begin(), calls_.end(),
              [this](const Node* a, const Node* b) { return at(a) < at(b); });
    ir::Graph program;
    std::unordered_map<const Value*, Value*> values;
    std::vector<Value*> outside;  // in the order in which they are read
    for (const Node* call : calls_) {
      for (Value* operand : call->operands) {
        const bool known = std::find(outside.begin(), outside.end(), operand) != outside.end();
        if (known || members_.count(operand->producer) > 0) continue;
        outside.push_back(operand);
        values[operand] = program.add_input(std::to_string(values.size()), operand->type);
      }
    }
    for (const Node* call : calls_) {
      std::vector<Value*> operands;
      for (const Value* operand : call->operands) operands.push_back(values.at(operand));
      const Node* copy =
          program.insert_node(nullptr, *call->op, std::move(operands), call->attributes);
      values[call->results[0]] = copy->results[0];
    }
    const std::string_view name =
        root_->op->traits.elementwise ? "fused_elementwise" : "fused_reduction";
    replace(graph, root_,
            builder_before(graph, root_)(name, outside, {{"program", print_program(program)}}));
    for (size_t i = calls_.size() - 1; i-- > 0;) graph.erase(calls_[i]);
  }

 private:
  size_t at(const Node* node) const { return positions_.at(node); }

  void add_operands(const Node& node) {
    for (Value* operand : node.operands) {
      const bool known = std::find(operands_.begin(), operands_.end(), operand) != operands_.end();
      if (!known) operands_.push_back(operand);
    }
  }

  /// The last of the calls that may join: between it and the group nothing else will.
  Node* nearest() const {
    Node* found = nullptr;
    for (const Value* operand : operands_) {
      if (!may_join(operand)) continue;
      if (found == nullptr || at(operand->producer) > at(found)) found = operand->producer;
    }
    return found;
  }

  bool may_join(const Value* value) const {
    if (value->kind != ir::ValueKind::result || value->output_uses > 0) return false;
    const Node& call = *value->producer;
    if (value->shape() != shape_ || !ops::is_fusible(call) || turns(call)) return false;
    const bool read_elsewhere =
        std::any_of(value->uses.begin(), value->uses.end(),
                    [this](const Value::Use& use) { return members_.count(use.node) == 0; });
    if (read_elsewhere || shows_state(call)) return false;
    size_t operands = operands_.size() - 1;
    for (const Value* operand : call.operands) {
      if (std::find(operands_.begin(), operands_.end(), operand) == operands_.end()) ++operands;
    }
    return operands <= kMostOperands && (is_next(call) || !keeps_more(call));
  }

  /// Whether nothing that is no member runs between the call and the last one.
  bool is_next(const Node& call) const {
    const auto between = std::count_if(members_.begin(), members_.end(),
                                       [&](const Node* member) { return at(member) > at(&call); });
    return at(root_) - at(&call) == static_cast<size_t>(between);
  }

  /// Whether memory would be held for longer if the call ran where the last one does: its operands
  /// take more of it than its result.
  bool keeps_more(const Node& call) const {
    size_t bytes = 0;  // of one element
    for (size_t i = 0; i < call.operands.size(); ++i) {
      const Value* operand = call.operands[i];
      const auto* begin = call.operands.data();
      if (operand->kind != ir::ValueKind::result || operand->shape() != shape_) continue;
      if (std::find(begin, begin + i, operand) != begin + i) continue;
      bytes += size_of(operand->dtype());
    }
    return bytes > size_of(call.results[0]->dtype());
  }

  const Positions& positions_;
  Node* root_;
  std::vector<Node*> calls_;
  std::unordered_set<const Node*> members_;
  std::vector<Value*> operands_;
  ir::Shape shape_;
};

/// Whether a reduction has groups for all threads, or so few elements that one will do.
bool is_wide(const Node& reduction) {
  constexpr int64_t kGroups = 16, kElements = 16384;
  const std::vector<bool> reduced = ops::reduced_dims(reduction);
  const ir::Shape& shape = reduction.operands[0]->shape();
  int64_t groups = 1, length = 1;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (reduced[i] && !shape[i].is_constant()) length = kElements + 1;
    const int64_t size = shape[i].is_constant() ? shape[i].value() : 1;
    int64_t& product = reduced[i] ? length : groups;
    product = std::min<int64_t>(product, kElements + 1) * std::min<int64_t>(size, kElements + 1);
  }
  return groups >= kGroups || length <= kElements;
}

bool may_end(const Node& node) {
  if (ops::is_fusible(node)) return true;
  return ops::is_fusible_reduction(node) && is_wide(node);
}

}  // namespace

bool fuse_elementwise(ir::Graph& graph, const PassContext&) {
  Positions positions;
  std::vector<Node*> calls;
  for (const auto& node : graph.nodes()) {
    if (node->op->traits.view) continue;
    positions[node.get()] = calls.size();
    calls.push_back(node.get());
  }
  std::unordered_set<const Node*> fused;
  for (auto it = calls.rbegin(); it != calls.rend(); ++it) {
    if (fused.count(*it) > 0 || !may_end(**it)) continue;
    Group group(*it, positions);
    if (!group.pays()) continue;
    fused.insert(group.members().begin(), group.members().end());
    group.fuse(graph);
  }
  return !fused.empty();
}

}  // namespace ostinato::passes
