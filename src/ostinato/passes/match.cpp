#include "ostinato/passes/match.h"

#include <cmath>

#include "ostinato/ops/infer.h"
#include "ostinato/ops/slice.h"
#include "ostinato/passes/rewrite.h"

namespace ostinato::passes {

using ir::Node;
using ir::Value;

const Node* call_of(const Value* value, std::initializer_list<std::string_view> operators) {
  if (value == nullptr || value->kind != ir::ValueKind::result) return nullptr;
  const Node* node = value->producer;
  return one_of(node->op->name, operators) ? node : nullptr;
}

const Node* only_call_of(const Value* value, std::initializer_list<std::string_view> operators) {
  const Node* node = call_of(value, operators);
  return node != nullptr && is_read_once(value) ? node : nullptr;
}

bool is_read_once(const Value* value) { return value->uses.size() == 1 && value->output_uses == 0; }

const Node* reshape_of(const Value* value) {
  return call_of(value, {"aten.view", "aten._unsafe_view", "aten.reshape"});
}

bool is_last_dim(int64_t dim, const Value* value) {
  return dim == -1 || dim == static_cast<int64_t>(value->rank()) - 1;
}

bool is_plain_sum(const Node& node) {
  return node.op->name == "aten.add.Tensor" && scalar_of(node, "alpha") == 1.0;
}

Value* other_factor(const Node& product, const Value* factor) {
  if (product.operands[0] == factor) return product.operands[1];
  return product.operands[1] == factor ? product.operands[0] : nullptr;
}

std::optional<Shifted> shifted(const Value* sum) {
  if (const Node* node = call_of(sum, {"aten.add.Scalar"})) {
    const std::optional<double> other = scalar_of(*node, "other");
    if (!other || scalar_of(*node, "alpha") != 1.0) return std::nullopt;
    return Shifted{node->operands[0], *other};
  }
  const Node* node = call_of(sum, {"aten.add.Tensor"});
  if (node == nullptr || !is_plain_sum(*node)) return std::nullopt;
  for (const size_t side : {size_t{1}, size_t{0}}) {
    Value* kept = node->operands[1 - side];
    const std::optional<double> scalar = uniform_value(node->operands[side]);
    if (scalar && kept->type == sum->type) return Shifted{kept, *scalar};
  }
  return std::nullopt;
}

std::optional<Scaled> scaled(const Node& node) {
  const std::string_view name = node.op->name;
  const bool quotient = name == "aten.div.Scalar" || name == "aten.div.Tensor";
  std::optional<double> other;
  Value* kept = nullptr;
  if (name == "aten.mul.Scalar" || name == "aten.div.Scalar") {
    kept = node.operands[0];
    other = scalar_of(node, "other");
  } else if (quotient || name == "aten.mul.Tensor") {
    for (const size_t side : {size_t{1}, size_t{0}}) {
      if (other || (quotient && side == 0)) break;
      kept = node.operands[1 - side];
      other = uniform_value(node.operands[side]);
    }
  }
  if (!other || kept->type != node.results[0]->type) return std::nullopt;
  return Scaled{kept, quotient ? 1 / *other : *other};
}

namespace {

/// v of 1/√v.
const Value* under_inverse_root(const Value* value) {
  if (const Node* node = call_of(value, {"aten.rsqrt"})) return node->operands[0];
  if (const Node* node = call_of(value, {"aten.pow.Tensor_Scalar"})) {
    return scalar_of(*node, "exponent") == -0.5 ? node->operands[0] : nullptr;
  }
  const Node* node = call_of(value, {"aten.reciprocal"});
  const Node* root = node != nullptr ? call_of(node->operands[0], {"aten.sqrt"}) : nullptr;
  return root != nullptr ? root->operands[0] : nullptr;
}

}  // namespace

const Value* under_root(const Node& node, size_t side) {
  if (node.op->name == "aten.mul.Tensor") return under_inverse_root(node.operands[1 - side]);
  const bool quotient = node.op->name == "aten.div.Tensor" && side == 0;
  const Node* root = quotient ? call_of(node.operands[1], {"aten.sqrt"}) : nullptr;
  return root != nullptr ? root->operands[0] : nullptr;
}

bool is_close(double number, double expected) {
  return std::abs(number - expected) <= 1e-6 * std::abs(expected);
}

Value* squared(const Value* square) {
  if (const Node* node = call_of(square, {"aten.pow.Tensor_Scalar"})) {
    return scalar_of(*node, "exponent") == 2.0 ? node->operands[0] : nullptr;
  }
  const Node* node = call_of(square, {"aten.mul.Tensor"});
  return node != nullptr && node->operands[0] == node->operands[1] ? node->operands[0] : nullptr;
}

bool is_over_last_dim(const Node& node) {
  const ir::Shape* dims = std::get_if<ir::Shape>(&node.attribute("dim"));
  if (dims == nullptr || dims->size() != 1) return false;
  return (*dims)[0].is_constant() && is_last_dim((*dims)[0].value(), node.operands[0]);
}

namespace {

/// Of x, as (..., n, part): one of the n.
std::optional<Part> unbound_part(const Value* value, const Node& unbind) {
  const Value* rows = unbind.operands[0];
  const Node* reshape = reshape_of(rows);
  const auto rank = static_cast<int64_t>(rows->rank());
  const int64_t dim = unbind.integer("dim");
  if (reshape == nullptr || rank < 2 || (dim != -2 && dim != rank - 2)) return std::nullopt;
  Value* whole = reshape->operands[0];
  ir::Shape joined = value->shape();
  const ir::Dim part = joined.back();
  joined.back() = rows->shape()[static_cast<size_t>(rank - 2)] * part;
  if (whole->shape() != joined) return std::nullopt;
  return Part{whole, part * value->index, part, 1};
}

}  // namespace

std::optional<Part> part_of_last_dim(const Value* value) {
  if (const Node* unbind = call_of(value, {"aten.unbind.int"})) return unbound_part(value, *unbind);
  return value->rank() == 0 ? std::nullopt : part_of_dim(value, value->rank() - 1);
}

std::optional<Part> part_of_dim(const Value* value, size_t dim) {
  const Node* node =
      call_of(value, {"aten.slice.Tensor", "aten.split.Tensor", "aten.split_with_sizes"});
  if (node == nullptr) return std::nullopt;
  Value* whole = node->operands[0];
  if (dim != ops::wrap_dim(*node, node->integer("dim"), whole->rank())) return std::nullopt;
  if (node->op->name == "aten.slice.Tensor") {
    const ops::Slice slice = ops::slice_of(*node, whole->shape());
    return Part{whole, slice.start, slice.length, slice.step};
  }
  ir::Dim start = 0;
  for (int i = 0; i < value->index; ++i) {
    start = start + node->results[static_cast<size_t>(i)]->shape()[dim];
  }
  return Part{whole, start, value->shape()[dim], 1};
}

Value* cast_from(const Value* cast, DType dtype) {
  const Node* node = call_of(cast, {"aten._to_copy"});
  return node != nullptr && node->operands[0]->dtype() == dtype ? node->operands[0] : nullptr;
}

std::optional<double> number(const Value* value) {
  if (const Node* node = call_of(value, {"aten.full", "aten.scalar_tensor"})) {
    return scalar_of(*node, node->op->name == "aten.full" ? "fill_value" : "s");
  }
  return uniform_value(value);
}

}  // namespace ostinato::passes
