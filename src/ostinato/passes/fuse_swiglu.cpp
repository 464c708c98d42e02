#include "ostinato/passes/match.h"
#include "ostinato/passes/pass.h"
#include "ostinato/passes/rewrite.h"

namespace ostinato::passes {

namespace {

using ir::Node;
using ir::Value;

/// x of silu(x) or x · sigmoid(x), if nothing else reads that.
Value* silu_gate(const Value* activated) {
  if (const Node* node = only_call_of(activated, {"aten.silu"})) return node->operands[0];
  const Node* product = only_call_of(activated, {"aten.mul.Tensor"});
  if (product == nullptr) return nullptr;
  for (const size_t side : {size_t{0}, size_t{1}}) {
    const Node* sigmoid = call_of(product->operands[side], {"aten.sigmoid"});
    Value* gate = product->operands[1 - side];
    if (sigmoid != nullptr && sigmoid->operands[0] == gate) return gate;
  }
  return nullptr;
}

Value* fuse_product(ir::Graph& graph, const Node* node) {
  if (node->op->name != "aten.mul.Tensor") return nullptr;
  for (const size_t side : {size_t{0}, size_t{1}}) {
    const Node* gelu = only_call_of(node->operands[side], {"aten.gelu"});
    Value* gate = gelu != nullptr ? gelu->operands[0] : silu_gate(node->operands[side]);
    Value* up = node->operands[1 - side];
    if (gate == nullptr || gate->type != up->type || !is_floating(gate->dtype())) continue;
    ir::Builder build = builder_before(graph, node);
    if (gelu == nullptr) return build("swiglu", {gate, up});
    return build("geglu", {gate, up}, {{"approximate", gelu->attribute("approximate")}});
  }
  return nullptr;
}

}  // namespace

// SwiGLU and GeGLU (Shazeer 2020): silu(gate) · up and gelu(gate) · up.
bool fuse_swiglu(ir::Graph& graph, const PassContext&) { return fuse_calls(graph, {fuse_product}); }

}  // namespace ostinato::passes
