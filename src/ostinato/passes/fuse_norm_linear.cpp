#include <algorithm>

#include "ostinato/passes/match.h"
#include "ostinato/passes/pass.h"
#include "ostinato/passes/rewrite.h"

// An RMSNorm that nothing but one call of products reads becomes part of that call. Where rows are
// few, as in decoding, the norm costs less than a launch of its own.
namespace ostinato::passes {

namespace {

using ir::Node;
using ir::Value;

/// The norm of a call's input, if the two can be one call.
const Node* norm_of(const Node& product) {
  const Node* norm = only_call_of(product.operands[0], {"rms_norm"});
  if (norm == nullptr || shares_state(norm->operands[0])) return nullptr;
  const bool same = norm->operands[0]->dtype() == norm->results[0]->dtype();
  return same ? norm : nullptr;
}

/// The call with the norm in it; null for calls that do more than multiply.
const Node* fused(ir::Graph& graph, const Node& product, const Node& norm) {
  const std::string_view op = product.op->name;
  const bool gated = op == "gated_linear";
  if (op == "linear" &&
      (product.operand("residual") != nullptr || product.string("activation") != "none")) {
    return nullptr;
  }
  std::vector<Value*> operands{norm.operands[0], norm.operand("weight")};
  const size_t count = op == "linear" ? 3 : product.operands.size();
  operands.insert(operands.end(), product.operands.begin() + 1,
                  product.operands.begin() + static_cast<std::ptrdiff_t>(count));
  std::vector<ir::NamedAttribute> attributes{{"eps", norm.real("eps")}};
  if (gated) attributes.emplace_back("activation", product.string("activation"));
  return builder_before(graph, &product)
      .call(gated ? "norm_gated_linear" : "norm_linears", std::move(operands), attributes);
}

}  // namespace

bool fuse_norm_linear(ir::Graph& graph, const PassContext&) {
  bool changed = false;
  const auto& nodes = graph.nodes();
  for (auto it = nodes.begin(); it != nodes.end();) {
    Node* product = (it++)->get();
    if (!one_of(product->op->name, {"aten.linear", "linear", "linears", "gated_linear"})) continue;
    const Node* norm = norm_of(*product);
    const Node* call = norm != nullptr ? fused(graph, *product, *norm) : nullptr;
    if (call == nullptr) continue;
    for (size_t i = 0; i < call->results.size(); ++i) {
      graph.replace_all_uses(product->results[i], call->results[i]);
    }
    graph.erase(product);
    changed = true;
  }
  return changed;
}

}  // namespace ostinato::passes
