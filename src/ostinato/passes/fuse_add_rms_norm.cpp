#include "ostinato/ir/builder.h"
#include "ostinato/ops/ops.h"
#include "ostinato/passes/match.h"
#include "ostinato/passes/pass.h"

namespace ostinato::passes {

namespace {

using ir::Node;
using ir::Value;

/// The sum of two tensors of its own type that a norm is of, where the norm can move up to it.
Node* sum_under(const Node& norm) {
  const Value* weight = norm.operand("weight");
  if (weight != nullptr && weight->kind == ir::ValueKind::result) return nullptr;
  Value* x = norm.operand("self");
  if (call_of(x, {"aten.add.Tensor"}) == nullptr) return nullptr;
  Node* sum = x->producer;
  const bool same = sum->operands[0]->type == x->type && sum->operands[1]->type == x->type;
  return is_plain_sum(*sum) && same ? sum : nullptr;
}

}  // namespace

bool fuse_add_rms_norm(ir::Graph& graph, const PassContext&) {
  bool changed = false;
  const auto& nodes = graph.nodes();
  for (auto it = nodes.begin(); it != nodes.end();) {
    Node* norm = (it++)->get();
    Node* sum = norm->op->name == "rms_norm" ? sum_under(*norm) : nullptr;
    if (sum == nullptr) continue;
    ir::Builder builder(graph, ops::table(), sum);
    builder.set_source(norm->source);
    const Node* fused =
        builder.call("add_rms_norm", {sum->operands[0], sum->operands[1], norm->operand("weight")},
                     {{"eps", norm->real("eps")}});
    graph.replace_all_uses(norm->results[0], fused->results[0]);
    graph.replace_all_uses(sum->results[0], fused->results[1]);
    graph.erase(norm);
    graph.erase(sum);
    changed = true;
  }
  return changed;
}

}  // namespace ostinato::passes
