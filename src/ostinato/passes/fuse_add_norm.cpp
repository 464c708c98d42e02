#include "ostinato/passes/match.h"
#include "ostinato/passes/pass.h"
#include "ostinato/passes/rewrite.h"

namespace ostinato::passes {

namespace {

using ir::Node;
using ir::Value;

/// Whether the value is there before the call, wherever that moves to.
bool is_early(const Value* value) {
  return value == nullptr || value->kind != ir::ValueKind::result;
}

/// The sum of two tensors of its own type that a norm is of, where the norm can move up to it.
Node* sum_under(const Node& norm) {
  Value* x = norm.operand("self");
  if (call_of(x, {"aten.add.Tensor"}) == nullptr) return nullptr;
  Node* sum = x->producer;
  const bool same = sum->operands[0]->type == x->type && sum->operands[1]->type == x->type;
  return is_plain_sum(*sum) && same ? sum : nullptr;
}

/// The call that is a norm and the sum before it; null where there is none.
Node* fused(ir::Graph& graph, const Node& norm, const Node* sum) {
  const bool rms = norm.op->name == "rms_norm";
  Value* bias = rms ? nullptr : norm.operand("bias");
  Value* weight = norm.operand("weight");
  if (!is_early(weight) || !is_early(bias)) return nullptr;
  ir::Builder builder = builder_before(graph, sum);
  builder.set_source(norm.source);
  std::vector<Value*> operands{sum->operands[0], sum->operands[1], weight};
  if (!rms) operands.push_back(bias);
  return builder.call(rms ? "add_rms_norm" : "add_layer_norm", std::move(operands),
                      {{"eps", norm.real("eps")}});
}

}  // namespace

bool fuse_add_norm(ir::Graph& graph, const PassContext&) {
  bool changed = false;
  const auto& nodes = graph.nodes();
  for (auto it = nodes.begin(); it != nodes.end();) {
    Node* norm = (it++)->get();
    if (!one_of(norm->op->name, {"rms_norm", "layer_norm"})) continue;
    Node* sum = sum_under(*norm);
    const Node* call = sum != nullptr ? fused(graph, *norm, sum) : nullptr;
    if (call == nullptr) continue;
    graph.replace_all_uses(norm->results[0], call->results[0]);
    graph.replace_all_uses(sum->results[0], call->results[1]);
    graph.erase(norm);
    graph.erase(sum);
    changed = true;
  }
  return changed;
}

}  // namespace ostinato::passes
