#include "ostinato/passes/cost.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "ostinato/ir/aliases.h"
#include "ostinato/ops/fused_elementwise.h"
#include "ostinato/passes/rewrite.h"

namespace ostinato::passes {

namespace {

using ir::Node;
using ir::Value;
using Aliases = std::unordered_map<const Value*, ir::Alias>;

double elements(const Value* value) { return static_cast<double>(numel(value->shape()).value()); }

double size_at(const Value* value, size_t dim) {
  return static_cast<double>(value->shape()[dim].value());
}

/// Of a product of matrices: how many products are added up for one element of the result. Zero
/// for every other operator.
double inner_size(const Node& node) {
  const std::string_view name = node.op->name;
  if (one_of(name, {"aten.addmm", "aten.baddbmm"})) {
    return size_at(node.operands[1], node.operands[1]->rank() - 1);
  }
  if (one_of(name, {"aten.mm", "aten.bmm", "aten.matmul", "aten.dot", "aten.mv", "aten.linear",
                    "linear", "linears", "gated_linear", "transformers.grouped_mm_fallback"})) {
    return size_at(node.operands[0], node.operands[0]->rank() - 1);
  }
  return 0;
}

bool has_operand(const Node& node, std::string_view name) {
  const auto& specs = node.op->operands;
  return std::any_of(specs.begin(), specs.end(), [&](const ir::OperandSpec& spec) {
    return spec.name == name && node.operand(name) != nullptr;
  });
}

/// With what is done to each element of a result.
double product_flops(const Node& node, double inner) {
  const std::string_view name = node.op->name;
  if (name == "linears") {
    double flops = 0;
    for (size_t i = 0; i < node.results.size(); ++i) {
      const bool biased = node.list()[2 * i + 1] != nullptr;
      flops += elements(node.results[i]) * (2 * inner + (biased ? 1 : 0));
    }
    return flops;
  }
  double per_element = name == "gated_linear" ? 4 * inner + 1 : 2 * inner;
  for (const std::string_view addend : {"bias", "gate_bias", "up_bias", "residual"}) {
    if (has_operand(node, addend)) ++per_element;
  }
  if (one_of(name, {"linear", "gated_linear"}) && node.string("activation") != "none") {
    ++per_element;
  }
  if (one_of(name, {"aten.addmm", "aten.baddbmm"})) ++per_element;
  return elements(node.results[0]) * per_element;
}

double flops_of(const Node& node) {
  const std::string_view name = node.op->name;
  const double written = elements(node.results[0]);
  if (const double inner = inner_size(node); inner > 0) {
    return product_flops(node, inner);
  }
  if (name == "aten.convolution") {
    const Value *input = node.operands[0], *weight = node.operands[1];
    const double taps = elements(weight) / std::max(1.0, size_at(weight, 0));
    const double bias = node.operand("bias") != nullptr ? written : 0;
    return 2 * taps * (node.flag("transposed") ? elements(input) : written) + bias;
  }
  if (one_of(name, {"attention", "aten.scaled_dot_product_attention"})) {
    const Value* key = node.operands[1];
    return 2 * size_at(key, key->rank() - 2) * (elements(node.operands[0]) + written);
  }
  if (one_of(name, {"fused_elementwise", "fused_reduction"})) {
    const ir::Graph program = ops::program_of(node);
    return std::accumulate(program.nodes().begin(), program.nodes().end(), 0.0,
                           [](double sum, const auto& call) { return sum + flops_of(*call); });
  }
  double most = 0;
  for (size_t i = 0; i < node.operands.size(); ++i) {
    if (node.operands[i] == nullptr || node.op->traits.writes(i)) continue;
    most = std::max(most, elements(node.operands[i]));
  }
  for (size_t i = node.op->traits.mutates.size(); i < node.results.size(); ++i) {
    most = std::max(most, elements(node.results[i]));
  }
  return most;
}

/// What reading the value fetches: expanded dims come once.
double bytes_read(const Value* value, const ir::Layout& layout) {
  auto count = static_cast<double>(size_of(value->dtype()));
  for (size_t d = 0; d < layout.rank(); ++d) {
    if (layout.strides[d] != 0 || layout.sizes[d] == 0) {
      count *= static_cast<double>(layout.sizes[d]);
    }
  }
  return count;
}

double bytes_of_call(const Node& node, const Aliases& aliases) {
  double bytes = 0;
  for (const size_t state : node.op->traits.mutates) {
    // Of a state only the place is written that the operand after it goes to.
    bytes += static_cast<double>(ir::bytes_of(*node.operands[state + 1]));
  }
  for (size_t i = node.op->traits.mutates.size(); i < node.results.size(); ++i) {
    bytes += static_cast<double>(ir::bytes_of(*node.results[i]));
  }
  const double written = bytes;
  const bool looks_up = one_of(
      node.op->name, {"aten.embedding", "aten.index_select", "aten.index.Tensor", "aten.gather"});
  std::set<const Value*> seen;
  for (size_t i = 0; i < node.operands.size(); ++i) {
    const Value* operand = node.operands[i];
    if (operand == nullptr || !seen.insert(operand).second) continue;
    if (node.op->traits.writes(i)) continue;
    const double read = bytes_read(operand, aliases.at(operand).layout);
    bytes += i == 0 && looks_up ? std::min(read, written) : read;
  }
  return bytes;
}

}  // namespace

Cost& Cost::operator+=(const Cost& other) {
  nodes += other.nodes;
  kernels += other.kernels;
  flops += other.flops;
  bytes += other.bytes;
  seconds += other.seconds;
  return *this;
}

Cost cost_of(const Node& node, const Aliases& aliases, const Ceilings& ceilings) {
  const bool is_view = node.op->traits.view &&
                       std::all_of(node.results.begin(), node.results.end(),
                                   [&](Value* value) { return aliases.at(value).base != value; });
  if (is_view) return {1, 0, 0, 0, 0};
  const double flops = flops_of(node), bytes = bytes_of_call(node, aliases);
  return {1, 1, flops, bytes,
          std::max(flops / ceilings.flops_per_second, bytes / ceilings.bytes_per_second)};
}

Cost cost_of(const ir::Graph& graph, const Ceilings& ceilings) {
  const Aliases aliases = ir::find_aliases(graph);
  Cost sum;
  for (const auto& node : graph.nodes()) {
    sum += cost_of(*node, aliases, ceilings);
  }
  return sum;
}

}  // namespace ostinato::passes
