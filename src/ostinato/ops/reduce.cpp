#include "ostinato/ops/reduce.h"

#include <cmath>

#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

namespace {

using ir::Attribute;
using ir::Dim;
using ir::Node;
using ir::Value;
using ir::ValueType;

const Attribute* find_attribute(const Node& node, std::string_view name) {
  for (size_t i = 0; i < node.attributes.size(); ++i) {
    if (node.op->attributes[i].name == name) return &node.attributes[i];
  }
  return nullptr;
}

ir::Shape reduced_shape(const Node& node) {
  const ir::Shape& shape = node.operands[0]->shape();
  const std::vector<bool> reduced = reduced_dims(node);
  const bool keepdim = find_attribute(node, "keepdim") != nullptr && node.flag("keepdim");
  ir::Shape result;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (!reduced[i]) {
      result.push_back(shape[i]);
    } else if (keepdim) {
      result.emplace_back(1);
    }
  }
  return result;
}

// For reductions that have no value of nothing, such as a maximum.
void require_elements(const Node& node) {
  const ir::Shape& shape = node.operands[0]->shape();
  const std::vector<bool> reduced = reduced_dims(node);
  for (size_t i = 0; i < shape.size(); ++i) {
    if (reduced[i] && shape[i].is(0)) {
      reject(node, "Reduce over dims that have elements.",
             "expected dim {} to have elements, got {}", i, to_string(shape));
    }
  }
}

// Sums and products of integers and bools are int64.
std::vector<ValueType> infer_sum(const Node& node) {
  const DType self = node.operands[0]->dtype();
  const DType natural = is_floating(self) ? self : DType::int64;
  return {{node.has("dtype") ? node.dtype("dtype") : natural, reduced_shape(node)}};
}

std::vector<ValueType> infer_mean(const Node& node) {
  const DType dtype = node.has("dtype") ? node.dtype("dtype") : node.operands[0]->dtype();
  if (!is_floating(dtype)) {
    reject(node, "Give dtype=float32.", "expected a floating dtype, got {}", name_of(dtype));
  }
  return {{dtype, reduced_shape(node)}};
}

std::vector<ValueType> infer_variance(const Node& node) {
  require_floating(node, node.operands[0]);
  const ValueType type{node.operands[0]->dtype(), reduced_shape(node)};
  return std::vector<ValueType>(static_cast<size_t>(node.op->results), type);
}

std::vector<ValueType> infer_extremum(const Node& node) {
  require_elements(node);
  const ValueType values{node.operands[0]->dtype(), reduced_shape(node)};
  if (node.op->results == 1) return {values};
  return {values, {DType::int64, values.shape}};
}

std::vector<ValueType> infer_arg(const Node& node) {
  require_elements(node);
  if (node.operands[0]->dtype() == DType::boolean) {
    reject(node, "Convert it with aten._to_copy.", "expected numbers, got bool");
  }
  return {{DType::int64, reduced_shape(node)}};
}

std::vector<ValueType> infer_any(const Node& node) {
  const bool bytes = node.operands[0]->dtype() == DType::uint8;
  return {{bytes ? DType::uint8 : DType::boolean, reduced_shape(node)}};
}

std::vector<ValueType> infer_norm(const Node& node) {
  const Value* self = node.operands[0];
  require_floating(node, self);
  const DType dtype = node.has("dtype") ? node.dtype("dtype") : self->dtype();
  if (dtype != self->dtype() && dtype != DType::float32) {
    reject(node, "Give dtype=float32, or none.", "expected a dtype no narrower than {}, got {}",
           name_of(self->dtype()), name_of(dtype));
  }
  const double order = node.real("ord");
  if (order < 0 || std::isinf(order)) require_elements(node);
  return {{dtype, reduced_shape(node)}};
}

std::vector<ValueType> infer_histogram(const Node& node) {
  require_floating(node, node.operands[0]);
  const double min = node.real("min"), max = node.real("max");
  const int64_t bins = node.integer("bins");
  if (bins < 1) reject(node, "Give at least one bin.", "expected bins, got {}", bins);
  if (!(min <= max) || std::isinf(min) || std::isinf(max)) {
    reject(node, "Give a finite range, or min = max = 0 for that of the values.",
           "expected min <= max, got {} and {}", min, max);
  }
  return {{node.operands[0]->dtype(), {Dim(bins)}}};
}

}  // namespace

std::vector<bool> reduced_dims(const Node& node) {
  const size_t rank = node.operands[0]->rank();
  const Attribute* dim = find_attribute(node, "dim");
  if (dim == nullptr || std::holds_alternative<std::monostate>(*dim)) {
    return std::vector<bool>(rank, true);
  }
  std::vector<int64_t> dims;
  if (const auto* list = std::get_if<ir::Shape>(dim)) {
    dims = ir::to_integers(*list);
    // No dims mean all, except to these two.
    const bool none_is_none = node.op->name == "aten.any.dims" || node.op->name == "aten.all.dims";
    if (dims.empty()) return std::vector<bool>(rank, !none_is_none);
  } else {
    dims = {node.integer("dim")};
  }
  std::vector<bool> reduced(rank, false);
  for (const size_t i : wrap_dims(node, dims, rank)) {
    if (i < rank) reduced[i] = true;  // a scalar counts as rank 1
  }
  return reduced;
}

void add_reduce(ir::OpTable& table) {
  using enum ir::AttrKind;
  using Attributes = std::vector<ir::AttrSpec>;
  const Attribute none;
  const ir::AttrSpec dim{"dim", integer}, any_dim{"dim", integer, none};
  const ir::AttrSpec dims{"dim", integers, none}, dims_or_all{"dim", integers, ir::Shape{}};
  const ir::AttrSpec keep{"keepdim", boolean, false}, type{"dtype", ir::AttrKind::dtype, none};
  const ir::AttrSpec correction{"correction", scalar, none};
  const auto add = [&table](std::string_view name, Attributes attributes,
                            ir::OpRow::InferRule infer, int results = 1) {
    table.add({.name = name,
               .operands = {{"self"}},
               .attributes = std::move(attributes),
               .results = results,
               .infer = infer});
  };
  add("aten.sum", {type}, infer_sum);
  add("aten.sum.dim_IntList", {dims, keep, type}, infer_sum);
  add("aten.prod", {type}, infer_sum);
  add("aten.prod.dim_int", {dim, keep, type}, infer_sum);
  add("aten.mean", {type}, infer_mean);
  add("aten.mean.dim", {dims, keep, type}, infer_mean);
  add("aten.var.correction", {dims, correction, keep}, infer_variance);
  add("aten.var.dim", {dims, {"unbiased", boolean, true}, keep}, infer_variance);
  add("aten.var_mean.correction", {dims, correction, keep}, infer_variance, 2);
  add("aten.std.correction", {dims, correction, keep}, infer_variance);
  for (const std::string_view name : {"aten.max", "aten.min"}) add(name, {}, infer_extremum);
  for (const std::string_view name : {"aten.amax", "aten.amin"}) {
    add(name, {dims_or_all, keep}, infer_extremum);
  }
  for (const std::string_view name : {"aten.max.dim", "aten.min.dim"}) {
    add(name, {dim, keep}, infer_extremum, 2);
  }
  for (const std::string_view name : {"aten.argmax", "aten.argmin"}) {
    add(name, {any_dim, keep}, infer_arg);
  }
  for (const std::string_view name : {"aten.any", "aten.all"}) add(name, {}, infer_any);
  for (const std::string_view name : {"aten.any.dim", "aten.all.dim"}) {
    add(name, {dim, keep}, infer_any);
  }
  for (const std::string_view name : {"aten.any.dims", "aten.all.dims"}) {
    add(name, {dims, keep}, infer_any);
  }
  add("aten.linalg_vector_norm", {{"ord", scalar, Dim(2)}, dims, keep, type}, infer_norm);
  add("aten.histc", {{"bins", integer, Dim(100)}, {"min", scalar, Dim(0)}, {"max", scalar, Dim(0)}},
      infer_histogram);
}

}  // namespace ostinato::ops
