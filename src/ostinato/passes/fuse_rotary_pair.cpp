#include <algorithm>

#include "ostinato/passes/match.h"
#include "ostinato/passes/pass.h"
#include "ostinato/passes/rewrite.h"

// The rotary embeddings of queries and keys become one call, with their norms over each head, and
// with the writes of keys and values to their caches.
namespace ostinato::passes {

namespace {

using ir::Node;
using ir::Value;

bool reads(const Node& node, std::initializer_list<const Value*> values) {
  return std::any_of(values.begin(), values.end(), [&](const Value* value) {
    return std::find(node.operands.begin(), node.operands.end(), value) != node.operands.end();
  });
}

/// x of norm(x), where nothing but the embedding reads the norm, perhaps permuted.
struct Normed {
  const Node* norm = nullptr;
  const Node* permutation = nullptr;
};

std::optional<Normed> normed(const Value* value) {
  Normed found;
  if (!is_read_once(value)) return std::nullopt;
  if (const Node* node = value->producer; node != nullptr) {
    const auto order = permutation_of(*node);
    if (order && !order->empty() && order->back() + 1 == order->size()) {
      found.permutation = node;
      value = node->operands[0];
    }
  }
  found.norm = only_call_of(value, {"rms_norm"});
  const bool same = found.norm != nullptr && found.norm->operands[0]->type == value->type;
  if (!same) return std::nullopt;
  const Value* weight = found.norm->operand("weight");
  return weight == nullptr || weight->dtype() == value->dtype() ? std::optional(found)
                                                                : std::nullopt;
}

/// What was normed, permuted as the norm was.
Value* unnormed(ir::Graph& graph, const Node* before, const Normed& normed) {
  Value* x = normed.norm->operands[0];
  if (normed.permutation == nullptr) return x;
  const Node& old = *normed.permutation;
  Node* permutation = graph.insert_node(before, *old.op, {x}, old.attributes);
  permutation->source = old.source;
  return permutation->results[0];
}

bool can_pair(const Node& node) {
  const Value* y = node.results[0];
  if (node.op->name != "rotary" || (y->uses.empty() && y->output_uses == 0)) return false;
  const Value *x = node.operands[0], *cos = node.operands[1], *sin = node.operands[2];
  const bool wide = cos->dtype() == DType::float32;
  if (y->dtype() != x->dtype() || (cos->dtype() != x->dtype() && !wide)) return false;
  if (cos->dtype() != sin->dtype()) return false;
  return x->rank() == 4 && !shares_state(x) && !shares_state(cos) && !shares_state(sin);
}

/// Whether two embeddings are those of queries and their keys.
bool are_pair(const Node& first, const Node& second) {
  const bool same = first.operands[1] == second.operands[1] &&
                    first.operands[2] == second.operands[2] &&
                    first.flag("interleaved") == second.flag("interleaved") &&
                    first.operands[0]->dtype() == second.operands[0]->dtype() &&
                    first.operands[0]->shape()[0] == second.operands[0]->shape()[0] &&
                    first.operands[0]->shape()[2] == second.operands[0]->shape()[2] &&
                    first.operands[0]->shape()[3] == second.operands[0]->shape()[3];
  return same && std::none_of(first.position, std::next(second.position),
                              [&](const auto& node) { return reads(*node, {first.results[0]}); });
}

void fuse_pair(ir::Graph& graph, Node* first, Node* second) {
  Value *query = first->operands[0], *key = second->operands[0];
  const auto query_norm = normed(query), key_norm = normed(key);
  std::vector<ir::NamedAttribute> attributes{{"interleaved", first->flag("interleaved")}};
  Value *query_weight = nullptr, *key_weight = nullptr;
  ir::Builder build = builder_before(graph, second);
  if (query_norm && key_norm && query_norm->norm->real("eps") == key_norm->norm->real("eps")) {
    attributes.emplace_back("eps", query_norm->norm->real("eps"));
    query_weight = query_norm->norm->operand("weight");
    key_weight = key_norm->norm->operand("weight");
    query = unnormed(graph, second, *query_norm);
    key = unnormed(graph, second, *key_norm);
  }
  const Node* pair = build.call(
      "rotary_pair", {query, key, first->operands[1], first->operands[2], query_weight, key_weight},
      attributes);
  graph.replace_all_uses(first->results[0], pair->results[0]);
  graph.replace_all_uses(second->results[0], pair->results[1]);
  graph.erase(first);
  graph.erase(second);
}

/// Embeddings that follow each other with no other embedding between them.
bool fuse_pairs(ir::Graph& graph) {
  bool changed = false;
  Node* open = nullptr;
  const auto& nodes = graph.nodes();
  for (auto it = nodes.begin(); it != nodes.end();) {
    Node* node = (it++)->get();
    if (node->op->name == "rotary_pair") open = nullptr;
    if (!can_pair(*node)) continue;
    if (open == nullptr || !are_pair(*open, *node)) {
      open = node;
      continue;
    }
    fuse_pair(graph, open, node);
    open = nullptr;
    changed = true;
  }
  return changed;
}

/// The update that an operand of attention is the result of.
Node* update_of(const Node& attention, size_t operand) {
  const Value* value = attention.operands[operand];
  return call_of(value, {"cache_update"}) != nullptr ? value->producer : nullptr;
}

/// The later of two updates of different states that come after a pair; null when a call before it
/// reads the queries of the pair or what the updates have left.
const Node* last_of(const ir::Graph& graph, const Node& pair, const Node& keys,
                    const Node& values) {
  bool seen = false;
  for (auto it = pair.position; it != graph.nodes().end(); ++it) {
    const Node& node = **it;
    const bool is_update = &node == &keys || &node == &values;
    if (reads(node, {pair.results[0], keys.results[0], values.results[0]})) return nullptr;
    if (is_update && seen) return &node;
    seen = seen || is_update;
  }
  return nullptr;
}

/// Of a pair whose keys go nowhere but to their cache, beside which the values go to theirs.
bool fuse_updates(ir::Graph& graph, const Node& attention) {
  Node *keys = update_of(attention, 1), *values = update_of(attention, 2);
  if (keys == nullptr || values == nullptr || keys == values) return false;
  const Value *key = keys->operands[1], *position = keys->operands[2];
  Value* value = values->operands[1];
  if (only_call_of(key, {"rotary_pair"}) == nullptr || key->index != 1) return false;
  Node* pair = key->producer;
  if (position != values->operands[2] || shares_state(value)) return false;
  const Node* last = last_of(graph, *pair, *keys, *values);
  if (last == nullptr) return false;
  std::vector<ir::NamedAttribute> attributes{{"eps", pair->attribute("eps")},
                                             {"interleaved", pair->flag("interleaved")}};
  const Node* fused = builder_before(graph, last)
                          .call("rotary_cache",
                                {pair->operands[0], keys->operands[0], pair->operands[1],
                                 values->operands[0], value, keys->operands[2], pair->operands[2],
                                 pair->operands[3], pair->operands[4], pair->operands[5]},
                                attributes);
  graph.replace_all_uses(keys->results[0], fused->results[0]);
  graph.replace_all_uses(values->results[0], fused->results[1]);
  graph.erase(keys);
  graph.erase(values);
  graph.replace_all_uses(pair->results[0], fused->results[2]);
  graph.erase(pair);
  return true;
}

}  // namespace

bool fuse_rotary_pair(ir::Graph& graph, const PassContext&) {
  bool changed = fuse_pairs(graph);
  for (const auto& node : graph.nodes()) {
    if (node->op->name == "attention" && fuse_updates(graph, *node)) changed = true;
  }
  return changed;
}

}  // namespace ostinato::passes
