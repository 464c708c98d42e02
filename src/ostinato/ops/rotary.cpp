#include "ostinato/ops/rotary.h"

#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

namespace {

using ir::Dim;
using ir::Node;
using ir::Shape;
using ir::Value;

Value* slice(ir::Builder& builder, Value* x, const Dim& start, const Dim& end) {
  return builder("aten.slice.Tensor", {x}, {{"dim", -1}, {"start", start}, {"end", end}});
}

// (-b, a) of the halves a, b; or of each pair (a, b) of neighbours.
Value* rotate_half(ir::Builder& builder, Value* x, bool interleaved) {
  const Shape shape = x->shape();
  Dim half = floor_div(shape.back(), 2);
  if (interleaved) {
    Shape pairs = shape;
    pairs.back() = half;
    pairs.emplace_back(2);
    x = builder("aten.view", {x}, {{"size", pairs}});
    half = 1;
  }
  Value* a = slice(builder, x, 0, half);
  Value* b = slice(builder, x, half, half + half);
  Value* y = builder("aten.cat", {builder("aten.neg", {b}), a}, {{"dim", -1}});
  return interleaved ? builder("aten.view", {y}, {{"size", shape}}) : y;
}

DType result_dtype(const Node& node) {
  return node.has("dtype") ? node.dtype("dtype") : promote(node.operands);
}

std::vector<ir::ValueType> infer_rotary(const Node& node) {
  const Value* self = node.operand("self");
  check_rotary(node, self, node.operand("cos"), node.operand("sin"));
  if (!is_floating(result_dtype(node))) {
    reject(node, "Give the dtype of the operand, or none.", "expected floats, got {}",
           name_of(result_dtype(node)));
  }
  return {{result_dtype(node), self->shape()}};
}

std::vector<Value*> expand_rotary(ir::Builder& builder, const Node& node) {
  return {rotary(builder, node.operand("self"), node.operand("cos"), node.operand("sin"),
                 node.flag("interleaved"), result_dtype(node))};
}

}  // namespace

void check_rotary(const Node& node, const Value* x, const Value* cos, const Value* sin) {
  for (const Value* operand : {x, cos, sin}) require_floating(node, operand);
  if (x->rank() == 0 || cos->rank() == 0 || sin->rank() == 0) {
    reject(node, "Give (B, H, S, D).", "expected at least 1 dim, got ()");
  }
  Shape rotated = x->shape();
  rotated.back() = cos->shape().back();
  const Dim passed = x->shape().back() - rotated.back();
  if (!rotated.back().is_constant() || rotated.back().value() % 2 != 0 ||
      (passed.is_constant() && passed.value() < 0)) {
    reject(node, "Give cosines for an even number of the last dim's elements.",
           "expected an even last dim of 'cos' of at most {}, got {}", x->shape().back().str(),
           rotated.back().str());
  }
  if (sin->shape().back() != rotated.back()) {
    reject(node, "Give sines for the same elements.", "expected a last dim of 'sin' of {}, got {}",
           rotated.back().str(), sin->shape().back().str());
  }
  require_broadcastable(node, cos, rotated);
  require_broadcastable(node, sin, rotated);
}

Value* rotary(ir::Builder& builder, Value* self, Value* cos, Value* sin, bool interleaved,
              DType dtype) {
  const Dim rotated = cos->shape().back(), all = self->shape().back();
  const bool partial = !(rotated == all);
  Value* x = partial ? slice(builder, self, 0, rotated) : self;
  Value* turned = rotate_half(builder, x, interleaved);
  Value* y = builder("aten.add.Tensor", {builder("aten.mul.Tensor", {x, cos}),
                                         builder("aten.mul.Tensor", {turned, sin})});
  if (partial) y = builder("aten.cat", {y, slice(builder, self, rotated, all)}, {{"dim", -1}});
  return y->dtype() == dtype ? y : builder("aten._to_copy", {y}, {{"dtype", dtype}});
}

void add_rotary(ir::OpTable& table) {
  // With a `dtype`, the result is rounded to that once.
  table.add({.name = "rotary",
             .operands = {{"self"}, {"cos"}, {"sin"}},
             .attributes = {{"interleaved", ir::AttrKind::boolean, false},
                            {"dtype", ir::AttrKind::dtype, ir::Attribute{}}},
             .infer = infer_rotary,
             .expand = expand_rotary});
}

}  // namespace ostinato::ops
