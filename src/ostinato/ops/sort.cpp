#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

namespace {

using ir::Dim;
using ir::Node;
using ir::Value;
using ir::ValueType;

// (values, indices), or indices alone for an argsort
std::vector<ValueType> infer_sort(const Node& node) {
  const Value* self = node.operands[0];
  wrap_dim(node, node.integer("dim"), self->rank());
  const ValueType indices{DType::int64, self->shape()};
  if (node.op->results == 1) return {indices};
  return {self->type, indices};
}

std::vector<ValueType> infer_topk(const Node& node) {
  const Value* self = node.operands[0];
  if (self->dtype() == DType::boolean) {
    reject(node, "Convert it with aten._to_copy.", "expected numbers, got bool");
  }
  const size_t dim = wrap_dim(node, node.integer("dim"), self->rank());
  const Dim& k = node.dim("k");
  ir::Shape shape = self->shape();
  const Dim size = shape.empty() ? Dim(1) : shape[dim];
  if (k.is_constant() && (k.value() < 0 || (size.is_constant() && k.value() > size.value()))) {
    reject(node, "Ask for at most as many as there are.", "expected k in [0, {}], got {}",
           size.str(), k.str());
  }
  if (!shape.empty()) shape[dim] = k;
  return {{self->dtype(), shape}, {DType::int64, shape}};
}

}  // namespace

void add_sort(ir::OpTable& table) {
  using enum ir::AttrKind;
  const ir::AttrSpec dim{"dim", integer, Dim(-1)}, descending{"descending", boolean, false};
  const auto add = [&table](std::string_view name, std::vector<ir::AttrSpec> attributes,
                            int results, ir::OpRow::InferRule infer) {
    table.add({.name = name,
               .operands = {{"self"}},
               .attributes = std::move(attributes),
               .results = results,
               .infer = infer});
  };
  // Every sort is stable here, asked for or not.
  add("aten.sort", {dim, descending}, 2, infer_sort);
  add("aten.sort.stable", {{"stable", boolean}, dim, descending}, 2, infer_sort);
  add("aten.argsort", {dim, descending}, 1, infer_sort);
  add("aten.argsort.stable", {{"stable", boolean}, dim, descending}, 1, infer_sort);
  add("aten.topk", {{"k", integer}, dim, {"largest", boolean, true}, {"sorted", boolean, true}}, 2,
      infer_topk);
}

}  // namespace ostinato::ops
