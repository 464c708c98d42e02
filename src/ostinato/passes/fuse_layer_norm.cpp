#include "ostinato/passes/match.h"
#include "ostinato/passes/pass.h"
#include "ostinato/passes/rewrite.h"

// LayerNorm (Ba et al. 2016): (x - mean(x)) / sqrt(var(x) + eps), then times a weight, plus a bias.
// Where the variance is the mean square of x - mean(x), the RMSNorm of that was found before.
namespace ostinato::passes {

namespace {

using ir::Node;
using ir::Value;

/// Whether the value is the mean of x over the last dim, which it keeps.
bool is_mean_of(const Value* value, const Value* x) {
  const Node* node = call_of(value, {"aten.mean.dim", "aten.var_mean.correction"});
  if (node == nullptr || node->operands[0] != x || value->dtype() != x->dtype()) return false;
  const bool second = node->op->name == "aten.var_mean.correction";
  return value->index == (second ? 1 : 0) && node->flag("keepdim") && is_over_last_dim(*node);
}

/// x of x - mean(x).
Value* centred(const Value* value) {
  const Node* node = call_of(value, {"aten.sub.Tensor"});
  if (node == nullptr || scalar_of(*node, "alpha") != 1.0) return nullptr;
  Value* x = node->operands[0];
  return is_mean_of(node->operands[1], x) ? x : nullptr;
}

/// Whether the value is the variance of x over the last dim, which it keeps, without correction.
bool is_variance_of(const Value* value, const Value* x) {
  const Node* node =
      call_of(value, {"aten.var.correction", "aten.var.dim", "aten.var_mean.correction"});
  if (node == nullptr || node->operands[0] != x || value->index != 0) return false;
  const bool biased = node->op->name == "aten.var.dim"
                          ? !node->flag("unbiased")
                          : node->has("correction") && scalar_of(*node, "correction") == 0.0;
  return biased && node->flag("keepdim") && is_over_last_dim(*node);
}

Value* layer_norm(ir::Graph& graph, const Node* node, Value* x, Value* weight, Value* bias,
                  double eps) {
  return builder_before(graph, node)("layer_norm", {x, weight, bias}, {{"eps", eps}});
}

/// The RMSNorm of x - mean(x).
Value* fuse_centred_norm(ir::Graph& graph, const Node* node) {
  Value* x = node->op->name == "rms_norm" ? centred(node->operands[0]) : nullptr;
  if (x == nullptr || x->type != node->results[0]->type) return nullptr;
  return layer_norm(graph, node, x, node->operand("weight"), nullptr, node->real("eps"));
}

/// (x - mean(x)) · 1/√(var(x) + eps), or divided by the root.
Value* fuse_variance(ir::Graph& graph, const Node* node) {
  for (const size_t side : {size_t{0}, size_t{1}}) {
    const Value* under = under_root(*node, side);
    Value* x = under != nullptr ? centred(node->operands[side]) : nullptr;
    if (x == nullptr || x->type != node->results[0]->type) continue;
    const std::optional<Shifted> sum = shifted(under);
    if (!sum || !is_variance_of(sum->value, x)) continue;
    return layer_norm(graph, node, x, nullptr, nullptr, sum->scalar);
  }
  return nullptr;
}

/// A norm without a bias that nothing else reads.
const Node* open_norm(const Value* value) {
  const Node* norm = only_call_of(value, {"layer_norm"});
  return norm != nullptr && norm->operand("bias") == nullptr ? norm : nullptr;
}

/// A norm between two casts: the operator computes in float32 itself.
Value* fuse_casts(ir::Graph& graph, const Node* node) {
  if (node->op->name != "aten._to_copy") return nullptr;
  const Node* norm = open_norm(node->operands[0]);
  if (norm == nullptr || norm->operand("weight") != nullptr) return nullptr;
  Value* x = cast_from(norm->operands[0], node->results[0]->dtype());
  if (x == nullptr || norm->operands[0]->dtype() != DType::float32) return nullptr;
  return layer_norm(graph, node, x, nullptr, nullptr, norm->real("eps"));
}

/// A norm times a vector, or plus one.
Value* fuse_vector(ir::Graph& graph, const Node* node) {
  const bool product = node->op->name == "aten.mul.Tensor";
  if (!product && !is_plain_sum(*node)) return nullptr;
  for (const size_t side : {size_t{0}, size_t{1}}) {
    const Node* norm = open_norm(node->operands[side]);
    Value* vector = node->operands[1 - side];
    if (norm == nullptr || vector->rank() != 1 || !is_floating(vector->dtype())) continue;
    Value *x = norm->operands[0], *weight = norm->operand("weight");
    if (vector->shape()[0] != x->shape().back() || x->type != node->results[0]->type) continue;
    if (weight != nullptr && (product || weight->dtype() != vector->dtype())) continue;
    if (vector->dtype() != x->dtype() && vector->dtype() != DType::float32) continue;
    return layer_norm(graph, node, x, product ? vector : weight, product ? nullptr : vector,
                      norm->real("eps"));
  }
  return nullptr;
}

/// Of ATen's operator, over the last dim, the norm alone is read.
Value* fuse_native(ir::Graph& graph, const Node* node) {
  if (node->op->name != "aten.native_layer_norm") return nullptr;
  const bool last = node->dims("normalized_shape").size() == 1;
  if (!last || graph.is_used(node->results[1]) || graph.is_used(node->results[2])) return nullptr;
  return layer_norm(graph, node, node->operands[0], node->operand("weight"), node->operand("bias"),
                    node->real("eps"));
}

}  // namespace

bool fuse_layer_norm(ir::Graph& graph, const PassContext&) {
  return fuse_calls(graph,
                    {fuse_native, fuse_centred_norm, fuse_variance, fuse_casts, fuse_vector});
}

}  // namespace ostinato::passes
