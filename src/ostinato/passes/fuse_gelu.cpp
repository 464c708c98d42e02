#include <algorithm>

#include "ostinato/passes/match.h"
#include "ostinato/passes/pass.h"
#include "ostinato/passes/rewrite.h"

// GELU (Hendrycks and Gimpel 2016) by its formula: x / 2 · (1 + erf(x / √2)), or with
// tanh(√(2/π) · (x + 0.044715 · x³)) in the place of erf.
namespace ostinato::passes {

namespace {

using ir::Node;
using ir::Value;

constexpr double kRootOfHalf = 0.70710678118654752440;
constexpr double kRootOfTwoOverPi = 0.79788456080286535588;
constexpr double kCubic = 0.044715;
constexpr int kMostSteps = 12;  // to take a formula's product apart, and not ever longer ones

/// A product taken apart: a number times values.
struct Factors {
  double number = 1;
  std::vector<const Value*> values;
};

/// Takes products apart, but not `whole`. What others read too is a factor by itself.
Factors factors_of(const Value* product, const Value* whole) {
  Factors factors;
  std::vector<const Value*> open{product};
  for (int step = 0; step < kMostSteps && !open.empty(); ++step) {
    const Value* value = open.back();
    open.pop_back();
    const bool shared = value != product && (value->uses.size() != 1 || value->output_uses > 0);
    const bool result = value->kind == ir::ValueKind::result;
    const Node* node = result && value != whole && !shared ? value->producer : nullptr;
    const std::optional<Scaled> part = node != nullptr ? scaled(*node) : std::nullopt;
    const std::string_view name = node != nullptr ? node->op->name : "";
    const double exponent =
        name == "aten.pow.Tensor_Scalar" ? scalar_of(*node, "exponent").value_or(0) : 0;
    if (part) {
      factors.number *= part->factor;
      open.push_back(part->value);
    } else if (name == "aten.mul.Tensor") {
      open.insert(open.end(), node->operands.begin(), node->operands.end());
    } else if (exponent == 2.0 || exponent == 3.0) {
      open.insert(open.end(), static_cast<size_t>(exponent), node->operands[0]);
    } else {
      factors.values.push_back(value);
    }
  }
  factors.values.insert(factors.values.end(), open.begin(), open.end());
  return factors;
}

/// Whether the value is number · xᵏ.
bool is_power(const Value* value, const Value* x, double number, size_t k) {
  const Factors factors = factors_of(value, x);
  const auto times = std::count(factors.values.begin(), factors.values.end(), x);
  return is_close(factors.number, number) && factors.values.size() == k &&
         static_cast<size_t>(times) == k;
}

/// x of √(2/π) · (x + 0.044715 · x³).
Value* under_outer_cubic(const Node& node) {
  const std::optional<Scaled> part = scaled(node);
  if (!part || !is_close(part->factor, kRootOfTwoOverPi)) return nullptr;
  const Node* sum = only_call_of(part->value, {"aten.add.Tensor"});
  if (sum == nullptr || !is_plain_sum(*sum)) return nullptr;
  for (const size_t side : {size_t{0}, size_t{1}}) {
    Value* x = sum->operands[side];
    if (is_power(sum->operands[1 - side], x, kCubic, 3)) return x;
  }
  return nullptr;
}

/// x of √(2/π) · x · (1 + 0.044715 · x²).
Value* under_inner_cubic(const Node& node) {
  if (node.op->name != "aten.mul.Tensor") return nullptr;
  for (const size_t side : {size_t{0}, size_t{1}}) {
    const Node* line = call_of(node.operands[side], {"aten.mul.Scalar", "aten.mul.Tensor"});
    const std::optional<Scaled> part = line != nullptr ? scaled(*line) : std::nullopt;
    if (!part || !is_close(part->factor, kRootOfTwoOverPi)) continue;
    const std::optional<Shifted> sum = shifted(node.operands[1 - side]);
    if (sum && sum->scalar == 1 && is_power(sum->value, part->value, kCubic, 2)) {
      return part->value;
    }
  }
  return nullptr;
}

/// What a bend, 1 + erf(…) or 1 + tanh(…), is of, and which GELU that makes.
struct Bend {
  Value* x;
  std::string_view approximate;
};

std::optional<Bend> bend_of(const Value* value) {
  if (only_call_of(value, {"aten.add.Scalar", "aten.add.Tensor"}) == nullptr) return std::nullopt;
  const std::optional<Shifted> sum = shifted(value);
  const Node* node =
      sum && sum->scalar == 1 ? only_call_of(sum->value, {"aten.erf", "aten.tanh"}) : nullptr;
  const Node* inner = node != nullptr ? node->operands[0]->producer : nullptr;
  if (inner == nullptr) return std::nullopt;
  if (node->op->name == "aten.erf") {
    const std::optional<Scaled> part = scaled(*inner);
    if (!part || !is_close(part->factor, kRootOfHalf)) return std::nullopt;
    return Bend{part->value, "none"};
  }
  Value* x = under_outer_cubic(*inner);
  if (x == nullptr) x = under_inner_cubic(*inner);
  return x != nullptr ? std::optional(Bend{x, "tanh"}) : std::nullopt;
}

/// The bend of a product x / 2 · bend.
std::optional<Bend> gelu_of(const Node& node) {
  if (!one_of(node.op->name,
              {"aten.mul.Tensor", "aten.mul.Scalar", "aten.div.Scalar", "aten.div.Tensor"})) {
    return std::nullopt;
  }
  const Value* result = node.results[0];
  if (!is_floating(result->dtype())) return std::nullopt;
  for (const Value* factor : factors_of(result, nullptr).values) {
    const std::optional<Bend> bend = bend_of(factor);
    if (!bend || bend->x->type != result->type) continue;
    const Factors factors = factors_of(result, bend->x);
    const std::vector<const Value*>& values = factors.values;
    const bool pair = values.size() == 2 && std::count(values.begin(), values.end(), factor) == 1 &&
                      std::count(values.begin(), values.end(), bend->x) == 1;
    if (pair && is_close(factors.number, 0.5)) return bend;
  }
  return std::nullopt;
}

Value* fuse_formula(ir::Graph& graph, const Node* node) {
  const std::optional<Bend> bend = gelu_of(*node);
  if (!bend) return nullptr;
  const std::string approximate(bend->approximate);
  return builder_before(graph, node)("aten.gelu", {bend->x}, {{"approximate", approximate}});
}

}  // namespace

bool fuse_gelu(ir::Graph& graph, const PassContext&) { return fuse_calls(graph, {fuse_formula}); }

}  // namespace ostinato::passes
