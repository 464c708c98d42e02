#include <algorithm>

#include "ostinato/passes/match.h"
#include "ostinato/passes/pass.h"
#include "ostinato/passes/rewrite.h"

// Gated linear units (Shazeer 2020): act(x · gate_weightᵀ) · (x · up_weightᵀ) of two weights, or of
// one that has the rows of both.
namespace ostinato::passes {

namespace {

using ir::Dim;
using ir::Node;
using ir::Value;

/// Of act(gate) · up.
struct Gate {
  Value *gate, *up;
  std::string activation;
};

/// A factor of a gated unit: a product, of all rows of its weight or of some.
struct Projection {
  const Node* product;
  std::optional<Part> rows;
};

/// Whether nothing reads what the call makes, but for others of that kind: what the fusions before
/// have left behind.
bool is_dead(const Node& node, int depth = 4) {
  return std::all_of(node.results.begin(), node.results.end(), [depth](const Value* result) {
    return result->output_uses == 0 &&
           std::all_of(result->uses.begin(), result->uses.end(), [depth](const Value::Use& use) {
             return depth > 0 && is_dead(*use.node, depth - 1);
           });
  });
}

/// Whether nothing but one operand of one living call reads the value.
bool has_one_reader(const Value* value) {
  return value->output_uses == 0 &&
         std::count_if(value->uses.begin(), value->uses.end(),
                       [](const Value::Use& use) { return !is_dead(*use.node); }) == 1;
}

/// A product of nothing but an operand, a weight and a bias.
const Node* plain_product(const Value* value) {
  const Node* node = call_of(value, {"aten.linear", "linear"});
  if (node == nullptr || node->op->name == "aten.linear") return node;
  const bool plain = node->operand("residual") == nullptr && node->string("activation") == "none";
  return plain ? node : nullptr;
}

std::optional<Projection> projection_of(const Value* value) {
  if (!has_one_reader(value)) return std::nullopt;
  if (const Node* product = plain_product(value)) return Projection{product, std::nullopt};
  const std::optional<Part> part = part_of_last_dim(value);
  const Node* product = part && part->step == 1 ? plain_product(part->whole) : nullptr;
  return product != nullptr ? std::optional(Projection{product, part}) : std::nullopt;
}

/// Whether nothing reads the product but the two.
bool is_read_by_both(const Node& product, const Gate& gate) {
  const Value* whole = product.results[0];
  const auto unread = [&](const Value* part) {
    return part == gate.gate || part == gate.up || (part->uses.empty() && part->output_uses == 0);
  };
  return whole->output_uses == 0 &&
         std::all_of(whole->uses.begin(), whole->uses.end(), [&](const Value::Use& use) {
           const auto& parts = use.node->results;
           return is_dead(*use.node) || std::all_of(parts.begin(), parts.end(), unread);
         });
}

Value* rows_of(ir::Builder& build, Value* weight, const std::optional<Part>& rows) {
  if (weight == nullptr || !rows) return weight;
  const Dim end = rows->start + rows->length;
  return build("aten.slice.Tensor", {weight}, {{"dim", 0}, {"start", rows->start}, {"end", end}});
}

Value* gated_linear(ir::Graph& graph, const Node* node, const Gate& gate) {
  const auto first = projection_of(gate.gate), second = projection_of(gate.up);
  if (!first || !second || first->rows.has_value() != second->rows.has_value()) return nullptr;
  const Node &a = *first->product, &b = *second->product;
  if (a.operands[0] != b.operands[0]) return nullptr;
  if (first->rows && (&a != &b || !is_read_by_both(a, gate))) return nullptr;
  ir::Builder build = builder_before(graph, node);
  return build(
      "gated_linear",
      {a.operands[0], rows_of(build, a.operands[1], first->rows),
       rows_of(build, b.operands[1], second->rows), rows_of(build, a.operands[2], first->rows),
       rows_of(build, b.operands[2], second->rows)},
      {{"activation", gate.activation}});
}

Value* fuse_unit(ir::Graph& graph, const Node* node) {
  if (node->op->name == "swiglu") {
    return gated_linear(graph, node, {node->operands[0], node->operands[1], "silu"});
  }
  if (node->op->name != "geglu") return nullptr;
  const bool tanh = node->string("approximate") == "tanh";
  return gated_linear(graph, node,
                      {node->operands[0], node->operands[1], tanh ? "gelu_tanh" : "gelu"});
}

}  // namespace

bool fuse_gated_linear(ir::Graph& graph, const PassContext&) {
  return fuse_calls(graph, {fuse_unit});
}

}  // namespace ostinato::passes
