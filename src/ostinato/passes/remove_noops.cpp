#include <algorithm>
#include <bit>
#include <cmath>

#include "ostinato/base/dtype.h"
#include "ostinato/ir/builder.h"
#include "ostinato/ops/ops.h"
#include "ostinato/passes/pass.h"
#include "ostinato/passes/rewrite.h"

namespace ostinato::passes {

namespace {

using ir::Dim;
using ir::Node;
using ir::Value;

bool is_zero(const ir::Shape& shape) {
  return std::all_of(shape.begin(), shape.end(), [](const Dim& dim) { return dim.is(0); });
}

/// Whether x + addend is x for every x: -0.0 + 0.0 is 0.0, so among reals only -0.0 will do.
bool adds_nothing(double addend, DType dtype) {
  return addend == 0 && (!is_floating(dtype) || std::signbit(addend));
}

/// Of operators whose result of the operand's type has the operand's elements in their order.
bool is_identity_of_same_type(const Node& node) {
  // A slice or a repetition that keeps the size keeps the elements.
  return one_of(node.op->name,
                {"aten.clone", "aten.alias", "aten.detach", "aten.lift_fresh_copy", "aten._to_copy",
                 "aten.view", "aten._unsafe_view", "aten.reshape", "aten.expand", "aten.squeeze",
                 "aten.squeeze.dim", "aten.squeeze.dims", "aten.slice.Tensor", "aten.repeat",
                 "aten.split_with_sizes", "aten.split.Tensor"});
}

/// Arithmetic with a scalar that changes no element, -0.0 and infinities included.
bool is_neutral_scalar(const Node& node) {
  const std::string_view name = node.op->name;
  const DType dtype = node.operands[0]->dtype();
  if (one_of(name, {"aten.mul.Scalar", "aten.div.Scalar"})) return scalar_of(node, "other") == 1.0;
  if (name == "aten.pow.Tensor_Scalar") return scalar_of(node, "exponent") == 1.0;
  if (!one_of(name, {"aten.add.Scalar", "aten.sub.Scalar"})) return false;
  const std::optional<double> other = scalar_of(node, "other");
  if (!other || scalar_of(node, "alpha") != 1.0) return false;
  return adds_nothing(name == "aten.add.Scalar" ? *other : -*other, dtype);
}

/// Of `aten.cat`: the only tensor that has elements.
Value* only_part(const Node& node) {
  Value* part = nullptr;
  for (Value* operand : node.list()) {
    if (numel(operand->shape()).is(0)) continue;
    if (part != nullptr) return nullptr;
    part = operand;
  }
  return part;
}

/// A tensor for which the arithmetic with another, uniform one changes nothing.
Value* neutral_operand(const Node& node) {
  const std::string_view name = node.op->name;
  const bool product = name == "aten.mul.Tensor";
  const bool quotient = name == "aten.div.Tensor";
  const bool sum = name == "aten.add.Tensor", difference = name == "aten.sub.Tensor";
  if (!product && !quotient && !sum && !difference) return nullptr;
  if ((sum || difference) && scalar_of(node, "alpha") != 1.0) return nullptr;
  for (const size_t side : {size_t{1}, size_t{0}}) {
    if (side == 0 && (quotient || difference)) break;  // 1 / x and 0 - x are not x
    Value* kept = node.operands[1 - side];
    const std::optional<double> value = uniform_value(node.operands[side]);
    if (!value || kept->type != node.results[0]->type) continue;
    if (product || quotient ? *value == 1.0
                            : adds_nothing(difference ? -*value : *value, kept->dtype())) {
      return kept;
    }
  }
  return nullptr;
}

/// A choice between two tensors whose mask is all true or all false.
Value* chosen_operand(const Node& node) {
  const std::string_view name = node.op->name;
  if (name == "aten.where.self") {
    const std::optional<double> mask = uniform_value(node.operand("condition"));
    if (!mask) return nullptr;
    return node.operand(*mask != 0 ? "self" : "other");
  }
  if (!one_of(name, {"aten.masked_fill.Scalar", "aten.masked_fill.Tensor"})) return nullptr;
  return uniform_value(node.operand("mask")) == 0.0 ? node.operand("self") : nullptr;
}

/// What the node's only result is equal to, of the values there are; null when there is none.
Value* equal_value(const Node& node) {
  if (node.results.size() != 1 || node.operands.empty() || node.operands[0] == nullptr) {
    return nullptr;
  }
  Value* self = node.operands[0];
  const std::string_view name = node.op->name;
  Value* found = nullptr;
  if (is_identity_of_same_type(node) || is_neutral_scalar(node)) {
    found = self;
  } else if (const auto permutation = permutation_of(node)) {
    if (keeps_order(*permutation, self->shape())) found = self;
  } else if (name == "aten.constant_pad_nd") {
    if (is_zero(node.dims("pad"))) found = self;
  } else if (name == "aten.roll") {
    if (is_zero(node.dims("shifts"))) found = self;
  } else if (name == "aten.flip") {
    if (node.dims("dims").empty()) found = self;
  } else if (name == "aten.copy") {
    found = node.operands[1];
  } else if (name == "aten.cat") {
    found = only_part(node);
  } else {
    found = neutral_operand(node);
    if (found == nullptr) found = chosen_operand(node);
  }
  return found != nullptr && found->type == node.results[0]->type ? found : nullptr;
}

/// Whether every value of one dtype is a value of the other.
bool widens(DType from, DType to) {
  if (from == to || from == DType::boolean) return true;
  if (to == DType::float32) return is_floating(from) || from == DType::uint8;
  if (to == DType::int64) return !is_floating(from);
  return to == DType::int32 && from == DType::uint8;
}

/// A cast of a cast that lost nothing becomes one; true if it was one.
bool fold_cast(ir::Graph& graph, Node* node) {
  if (node->op->name != "aten._to_copy") return false;
  const Node* inner = node->operands[0]->producer;
  if (inner == nullptr || inner->op->name != "aten._to_copy") return false;
  Value* source = inner->operands[0];
  if (shares_state(source) || !widens(source->dtype(), inner->results[0]->dtype())) return false;
  if (source->type == node->results[0]->type) {
    replace(graph, node, source);
    return true;
  }
  graph.set_operand(node, 0, source);
  return true;
}

}  // namespace

bool remove_noops(ir::Graph& graph, const PassContext&) {
  bool changed = false;
  const auto& nodes = graph.nodes();
  for (auto it = nodes.begin(); it != nodes.end();) {
    Node* node = (it++)->get();
    if (Value* equal = equal_value(*node)) {
      // A copy of a state holds what the state was; a view of it never did.
      if (shares_state(equal) && !node->op->traits.view) continue;
      replace(graph, node, equal);
      changed = true;
    } else if (fold_cast(graph, node)) {
      changed = true;
    }
  }
  return changed;
}

}  // namespace ostinato::passes
