#include "ostinato/ops/ops.h"
#include "ostinato/ops/slice.h"
#include "ostinato/passes/match.h"
#include "ostinato/passes/pass.h"
#include "ostinato/passes/rewrite.h"

// Rotary position embedding (Su et al. 2021) by halves: x · cos + (-b, a) · sin of x = (a, b).
namespace ostinato::passes {

namespace {

using ir::Dim;
using ir::Node;
using ir::Value;

bool is_last_dim(const Node& node, std::string_view attribute, size_t rank) {
  const int64_t dim = node.integer(attribute);
  return dim == -1 || dim == static_cast<int64_t>(rank) - 1;
}

/// x of x[..., start:end], along the last dim.
Value* sliced(const Value* part, const Dim& start, const Dim& end) {
  const Node* node = call_of(part, {"aten.slice.Tensor"});
  if (node == nullptr) return nullptr;
  Value* x = node->operands[0];
  if (!is_last_dim(*node, "dim", x->rank())) return nullptr;
  const ops::Slice slice = ops::slice_of(*node, x->shape());
  const bool same = slice.start == start && slice.length == end - start && slice.step == 1;
  return same ? x : nullptr;
}

/// The two parts of a concatenation along the last dim.
std::optional<std::pair<Value*, Value*>> two_parts(const Value* value) {
  const Node* node = call_of(value, {"aten.cat"});
  if (node == nullptr || node->list().size() != 2) return std::nullopt;
  if (!is_last_dim(*node, "dim", value->rank())) return std::nullopt;
  return std::pair(node->list()[0], node->list()[1]);
}

/// x = (a, b) of (-b, a).
Value* turned(const Value* value) {
  const auto parts = two_parts(value);
  const Node* negated = parts ? call_of(parts->first, {"aten.neg"}) : nullptr;
  if (negated == nullptr || value->rank() == 0) return nullptr;
  const Dim& all = value->shape().back();
  if (!all.is_constant() || all.value() % 2 != 0) return nullptr;
  const Dim half(all.value() / 2);
  Value* x = sliced(negated->operands[0], half, all);
  return x != nullptr && x == sliced(parts->second, 0, half) ? x : nullptr;
}

/// Whether `cos` or `sin` gives every element of the last dim a factor of its own.
bool is_table(const Value* table, const Value* x) {
  return table->rank() > 0 && table->rank() <= x->rank() && is_floating(table->dtype()) &&
         table->shape().back() == x->shape().back();
}

Value* fuse_halves(ir::Graph& graph, const Node* node) {
  if (!is_plain_sum(*node)) return nullptr;
  for (const size_t side : {size_t{0}, size_t{1}}) {
    const Node* straight = only_call_of(node->operands[side], {"aten.mul.Tensor"});
    const Node* crossed = only_call_of(node->operands[1 - side], {"aten.mul.Tensor"});
    if (straight == nullptr || crossed == nullptr) return nullptr;
    for (const size_t factor : {size_t{0}, size_t{1}}) {
      Value* x = turned(crossed->operands[factor]);
      Value* sin = crossed->operands[1 - factor];
      Value* cos = x != nullptr ? other_factor(*straight, x) : nullptr;
      if (cos == nullptr || !is_table(cos, x) || !is_table(sin, x)) continue;
      if (x->type != node->results[0]->type) continue;
      return builder_before(graph, node)("rotary", {x, cos, sin});
    }
  }
  return nullptr;
}

/// The first elements are rotated, the others pass.
Value* fuse_rest(ir::Graph& graph, const Node* node) {
  const auto parts = node->op->name == "aten.cat" ? two_parts(node->results[0]) : std::nullopt;
  const Node* rotary = parts ? only_call_of(parts->first, {"rotary"}) : nullptr;
  if (rotary == nullptr || rotary->flag("interleaved")) return nullptr;
  const Dim &rotated = parts->first->shape().back(), &all = node->results[0]->shape().back();
  Value* x = sliced(rotary->operands[0], 0, rotated);
  if (x == nullptr || x != sliced(parts->second, rotated, all)) return nullptr;
  return builder_before(graph, node)("rotary", {x, rotary->operands[1], rotary->operands[2]});
}

}  // namespace

bool fuse_rotary(ir::Graph& graph, const PassContext&) {
  return fuse_calls(graph, {fuse_halves, fuse_rest});
}

}  // namespace ostinato::passes
