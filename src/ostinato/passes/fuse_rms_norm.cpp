#include "ostinato/passes/match.h"
#include "ostinato/passes/pass.h"
#include "ostinato/passes/rewrite.h"

// RMSNorm (Zhang and Sennrich 2019): x · rsqrt(mean(x²) + eps), then times a weight. Models write
// it in float32 between two casts.
namespace ostinato::passes {

namespace {

using ir::Node;
using ir::Value;

/// The epsilon of mean(x²) + eps over the last dim.
std::optional<double> epsilon_of(const Value* variance, const Value* x) {
  const std::optional<Shifted> sum = shifted(variance);
  const Node* mean = sum ? call_of(sum->value, {"aten.mean.dim"}) : nullptr;
  if (mean == nullptr || !mean->flag("keepdim") || !is_over_last_dim(*mean)) return std::nullopt;
  if (mean->results[0]->dtype() != x->dtype()) return std::nullopt;
  return squared(mean->operands[0]) == x ? std::optional(sum->scalar) : std::nullopt;
}

Value* rms_norm(ir::Graph& graph, const Node* node, Value* x, Value* weight, double eps) {
  return builder_before(graph, node)("rms_norm", {x, weight}, {{"eps", eps}});
}

/// x · 1/√(mean(x²) + eps), or x / √(…).
Value* fuse_chain(ir::Graph& graph, const Node* node) {
  for (const size_t side : {size_t{0}, size_t{1}}) {
    const Value* variance = under_root(*node, side);
    if (variance == nullptr) continue;
    Value* x = node->operands[side];
    const std::optional<double> eps = epsilon_of(variance, x);
    if (eps && x->rank() > 0) return rms_norm(graph, node, x, nullptr, *eps);
  }
  return nullptr;
}

/// A norm without a weight that nothing else reads.
const Node* bare_norm(const Value* value) {
  const Node* norm = only_call_of(value, {"rms_norm"});
  return norm != nullptr && norm->operand("weight") == nullptr ? norm : nullptr;
}

/// A norm between two casts: the operator computes in float32 itself.
Value* fuse_casts(ir::Graph& graph, const Node* node) {
  if (node->op->name != "aten._to_copy") return nullptr;
  const Node* norm = bare_norm(node->operands[0]);
  Value* x = norm != nullptr ? cast_from(norm->operands[0], node->results[0]->dtype()) : nullptr;
  if (x == nullptr || norm->operands[0]->dtype() != DType::float32) return nullptr;
  return rms_norm(graph, node, x, nullptr, norm->real("eps"));
}

/// A norm times a vector.
Value* fuse_weight(ir::Graph& graph, const Node* node) {
  if (node->op->name != "aten.mul.Tensor") return nullptr;
  for (const size_t side : {size_t{0}, size_t{1}}) {
    const Node* norm = bare_norm(node->operands[side]);
    Value* weight = node->operands[1 - side];
    if (norm == nullptr || weight->rank() != 1 || !is_floating(weight->dtype())) continue;
    Value* x = norm->operands[0];
    if (weight->shape()[0] != x->shape().back()) continue;
    return rms_norm(graph, node, x, weight, norm->real("eps"));
  }
  return nullptr;
}

}  // namespace

bool fuse_rms_norm(ir::Graph& graph, const PassContext&) {
  return fuse_calls(graph, {fuse_chain, fuse_casts, fuse_weight});
}

}  // namespace ostinato::passes
