#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

namespace {

using ir::Dim;
using ir::Node;
using ir::Shape;
using ir::Value;
using ir::ValueType;

// A tensor of shape (0) joins with any other, for the sake of old programs.
bool is_skipped(const Value* operand) { return operand->rank() == 1 && operand->shape()[0].is(0); }

std::vector<ValueType> infer_cat(const Node& node) {
  if (node.operands.empty()) {
    reject(node, "Give at least one tensor.", "expected tensors, got none");
  }
  const Value* first = nullptr;
  for (const Value* operand : node.operands) {
    if (first == nullptr && !is_skipped(operand)) first = operand;
  }
  if (first == nullptr) return {{promote(node.operands), {Dim(0)}}};
  if (first->rank() == 0) {
    reject(node, "Use aten.stack.", "expected at least 1 dim, got ()");
  }
  const size_t dim = wrap_dim(node, node.integer("dim"), first->rank());
  Shape shape = first->shape();
  shape[dim] = 0;
  for (const Value* operand : node.operands) {
    if (is_skipped(operand)) continue;
    require_rank(node, operand, shape.size());
    for (size_t i = 0; i < shape.size(); ++i) {
      if (i != dim) {
        require_equal(node, fmt::format("dim {} of {}", i, to_string(operand->shape())), shape[i],
                      operand->shape()[i]);
      }
    }
    shape[dim] = shape[dim] + operand->shape()[dim];
  }
  return {{promote(node.operands), shape}};
}

std::vector<ValueType> infer_stack(const Node& node) {
  if (node.operands.empty()) {
    reject(node, "Give at least one tensor.", "expected tensors, got none");
  }
  Shape shape = node.operands[0]->shape();
  for (const Value* operand : node.operands) {
    require_rank(node, operand, shape.size());
    for (size_t i = 0; i < shape.size(); ++i) {
      require_equal(node, fmt::format("dim {} of {}", i, to_string(operand->shape())), shape[i],
                    operand->shape()[i]);
    }
  }
  const size_t dim = wrap_dim(node, node.integer("dim"), shape.size() + 1);
  shape.insert(shape.begin() + static_cast<ptrdiff_t>(dim),
               Dim(static_cast<int64_t>(node.operands.size())));
  return {{promote(node.operands), shape}};
}

std::vector<ValueType> infer_repeat(const Node& node) {
  const Shape& from = node.operands[0]->shape();
  Shape shape = node.dims("repeats");
  if (shape.size() < from.size()) {
    reject(node, "Give a count for every dim.", "expected at least {} counts, got {}", from.size(),
           to_string(shape));
  }
  const size_t added = shape.size() - from.size();
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i].is_constant() && shape[i].value() < 0) {
      reject(node, "Give counts of at least 0.", "cannot repeat {} times", shape[i].str());
    }
    if (i >= added) shape[i] = shape[i] * from[i - added];
  }
  return {{node.operands[0]->dtype(), shape}};
}

// `pad` counts from the last dim: before, after, before, after, …; negative ones crop.
std::vector<ValueType> infer_pad(const Node& node) {
  Shape shape = node.operands[0]->shape();
  const Shape& pad = node.dims("pad");
  if (pad.size() % 2 != 0 || pad.size() > 2 * shape.size()) {
    reject(node, "Give two paddings a dim, the last dim first.",
           "expected an even number of paddings, at most {}, got {}", 2 * shape.size(),
           to_string(pad));
  }
  for (size_t i = 0; i < pad.size() / 2; ++i) {
    Dim& size = shape[shape.size() - 1 - i];
    const Dim padded = size + pad[2 * i] + pad[2 * i + 1];
    const Dim cropped = size + min(pad[2 * i], 0) + min(pad[2 * i + 1], 0);
    if (cropped.is_constant() && cropped.value() < 0) {
      reject(node, "Crop less.", "cannot crop a dim of {} by {} and {}", size.str(),
             pad[2 * i].str(), pad[2 * i + 1].str());
    }
    size = padded;
  }
  return {{node.operands[0]->dtype(), shape}};
}

std::vector<ValueType> infer_flip(const Node& node) {
  wrap_dims(node, node.integers("dims"), node.operands[0]->rank());
  return infer_same(node);
}

std::vector<ValueType> infer_roll(const Node& node) {
  const std::vector<int64_t> dims = node.integers("dims");
  const size_t shifts = node.dims("shifts").size();
  for (int64_t dim : dims) wrap_dim(node, dim, node.operands[0]->rank());
  // Without dims the tensor is rolled as if it were flat.
  if (shifts != (dims.empty() ? 1 : dims.size())) {
    reject(node, "Give one shift a dim.", "expected {} shifts, got {}",
           dims.empty() ? 1 : dims.size(), shifts);
  }
  return infer_same(node);
}

std::vector<ValueType> infer_triangle(const Node& node) {
  if (node.operands[0]->rank() < 2) {
    reject(node, "Give a matrix or a batch of them.", "expected at least 2 dims, got {}",
           to_string(node.operands[0]->shape()));
  }
  return infer_same(node);
}

}  // namespace

void add_concat(ir::OpTable& table) {
  using enum ir::AttrKind;
  const ir::OperandSpec tensors{"tensors", ir::OperandKind::list};
  table.add({.name = "aten.cat",
             .operands = {tensors},
             .attributes = {{"dim", integer, Dim(0)}},
             .infer = infer_cat});
  table.add({.name = "aten.stack",
             .operands = {tensors},
             .attributes = {{"dim", integer, Dim(0)}},
             .infer = infer_stack});
  table.add({.name = "aten.repeat",
             .operands = {{"self"}},
             .attributes = {{"repeats", integers}},
             .infer = infer_repeat});
  table.add({.name = "aten.constant_pad_nd",
             .operands = {{"self"}},
             .attributes = {{"pad", integers}, {"value", scalar, Dim(0)}},
             .infer = infer_pad});
  table.add({.name = "aten.flip",
             .operands = {{"self"}},
             .attributes = {{"dims", integers}},
             .infer = infer_flip});
  table.add({.name = "aten.roll",
             .operands = {{"self"}},
             .attributes = {{"shifts", integers}, {"dims", integers, Shape{}}},
             .infer = infer_roll});
  for (const std::string_view name : {"aten.tril", "aten.triu"}) {
    table.add({.name = name,
               .operands = {{"self"}},
               .attributes = {{"diagonal", integer, Dim(0)}},
               .infer = infer_triangle});
  }
}

}  // namespace ostinato::ops
