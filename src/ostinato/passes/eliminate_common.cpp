#include <cstring>
#include <unordered_map>
#include <unordered_set>

#include "ostinato/passes/pass.h"

namespace ostinato::passes {

namespace {

using ir::Node;
using ir::Value;

size_t combine(size_t seed, size_t value) {
  return seed ^ (value + 0x9e3779b97f4a7c15ull + (seed << 6) + (seed >> 2));
}

struct HashOfCall {
  size_t operator()(const Node* node) const {
    size_t hash = std::hash<const void*>()(node->op);
    for (const Value* operand : node->operands) {
      hash = combine(hash, std::hash<const void*>()(operand));
    }
    for (const ir::Attribute& attribute : node->attributes) {
      hash = combine(hash, ir::hash(attribute));
    }
    return hash;
  }
};

struct EqualCalls {
  bool operator()(const Node* a, const Node* b) const {
    return a->op == b->op && a->operands == b->operands &&
           std::equal(a->attributes.begin(), a->attributes.end(), b->attributes.begin(),
                      b->attributes.end(), ir::identical);
  }
};

/// Small nameless constants are equal when their bytes are, all others when they are the same
/// memory (tied weights).
constexpr size_t kComparedBytes = 4096;

bool compares_bytes(const Value* constant) {
  return constant->name.empty() && constant->data.bytes() <= kComparedBytes;
}

struct HashOfConstant {
  size_t operator()(const Value* constant) const {
    const Tensor& data = constant->data;
    if (!compares_bytes(constant)) return std::hash<const void*>()(data.data());
    return std::hash<std::string_view>()({static_cast<const char*>(data.data()), data.bytes()});
  }
};

struct EqualConstants {
  bool operator()(const Value* a, const Value* b) const {
    if (a->type != b->type) return false;
    if (a->data.data() == b->data.data()) return true;
    return compares_bytes(a) && compares_bytes(b) &&
           std::memcmp(a->data.data(), b->data.data(), a->data.bytes()) == 0;
  }
};

bool merge_constants(ir::Graph& graph) {
  bool changed = false;
  std::unordered_set<Value*, HashOfConstant, EqualConstants> seen;
  for (Value* constant : graph.constants()) {
    if (!constant->data.defined()) continue;
    Value* first = *seen.insert(constant).first;
    if (first == constant || !graph.is_used(constant)) continue;
    graph.replace_all_uses(constant, first);
    changed = true;
  }
  return changed;
}

}  // namespace

bool eliminate_common(ir::Graph& graph, const PassContext&) {
  bool changed = merge_constants(graph);
  // Operands are values, and what a state holds after each overwrite is a value of its own, so
  // equal operands are equal contents.
  std::unordered_set<Node*, HashOfCall, EqualCalls> seen;
  const auto& nodes = graph.nodes();
  for (auto it = nodes.begin(); it != nodes.end();) {
    Node* node = (it++)->get();
    if (node->op->traits.random || node->op->traits.writes()) continue;
    const auto [first, inserted] = seen.insert(node);
    if (inserted) continue;
    for (size_t i = 0; i < node->results.size(); ++i) {
      graph.replace_all_uses(node->results[i], (*first)->results[i]);
    }
    graph.erase(node);
    changed = true;
  }
  return changed;
}

}  // namespace ostinato::passes
