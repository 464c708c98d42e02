#include "ostinato/ops/slice.h"

#include <limits>

#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

using ir::Dim;
using ir::Layout;
using ir::Node;
using ir::Shape;
using ir::ValueType;

namespace {

// position + size where position is negative, as one expression when that depends on symbols.
Dim from_start(const Dim& position, const Dim& size) {
  if (position.lower_bound().value_or(-1) >= 0) return position;
  if ((Dim(-1) - position).lower_bound().value_or(-1) >= 0) return position + size;
  const Dim is_negative = min(max(Dim(0) - position, 0), 1);
  return position + size * is_negative;
}

Dim clamped(const Dim& position, const Dim& size) {
  // Exporters write the greatest integer for "to the end".
  if (position.is(std::numeric_limits<int64_t>::max())) return size;
  if (position.is(std::numeric_limits<int64_t>::min())) return 0;
  return min(max(from_start(position, size), 0), size);
}

size_t sliced_dim(const Node& node, size_t rank) {
  if (rank == 0) reject(node, "Use aten.unsqueeze.", "expected at least 1 dim, got ()");
  return wrap_dim(node, node.integer("dim"), rank);
}

}  // namespace

Slice slice_of(const Node& node, const Shape& shape) {
  Slice slice{sliced_dim(node, shape.size()), 0, 0, node.integer("step")};
  if (slice.step < 1) {
    reject(node, "Use aten.flip to go backwards.", "expected a step of at least 1, got {}",
           slice.step);
  }
  const Dim& size = shape[slice.dim];
  if (node.has("start")) slice.start = clamped(node.dim("start"), size);
  const Dim end = node.has("end") ? clamped(node.dim("end"), size) : size;
  const Dim taken = max(end - slice.start, 0);
  slice.length = floor_div(taken + Dim(slice.step - 1), slice.step);
  return slice;
}

Dim wrap_position(const Node& node, const Dim& position, const Dim& size) {
  Dim wrapped = from_start(position, size);
  const Dim beyond = wrapped - size;
  if ((wrapped.is_constant() && wrapped.value() < 0) ||
      (beyond.is_constant() && beyond.value() >= 0)) {
    reject(node, "Choose a position within the dim.", "expected an index in [-{}, {}), got {}",
           size.str(), size.str(), position.str());
  }
  return wrapped;
}

namespace {

std::vector<ValueType> infer_slice(const Node& node) {
  ValueType type = node.operands[0]->type;
  const Slice slice = slice_of(node, type.shape);
  type.shape[slice.dim] = slice.length;
  return {type};
}

std::optional<Layout> slice_layout(const Node& node, size_t, const Layout& operand) {
  const Slice slice = slice_of(node, Shape(operand.sizes.begin(), operand.sizes.end()));
  Layout result = operand;
  result.sizes[slice.dim] = slice.length.value();
  // An empty slice may start past the end; it has no first element to point at.
  if (result.sizes[slice.dim] > 0) {
    result.offset += slice.start.value() * operand.strides[slice.dim];
  }
  result.strides[slice.dim] *= slice.step;
  return result;
}

std::vector<ValueType> infer_select(const Node& node) {
  ValueType type = node.operands[0]->type;
  const size_t dim = sliced_dim(node, type.shape.size());
  wrap_position(node, node.dim("index"), type.shape[dim]);
  type.shape.erase(type.shape.begin() + static_cast<ptrdiff_t>(dim));
  return {type};
}

Layout without_dim(const Layout& operand, size_t dim, int64_t position) {
  Layout result = operand;
  const auto at = static_cast<ptrdiff_t>(dim);
  result.offset += position * operand.strides[dim];
  result.sizes.erase(result.sizes.begin() + at);
  result.strides.erase(result.strides.begin() + at);
  return result;
}

std::optional<Layout> select_layout(const Node& node, size_t, const Layout& operand) {
  const size_t dim = sliced_dim(node, operand.rank());
  return without_dim(operand, dim,
                     wrap_position(node, node.dim("index"), operand.sizes[dim]).value());
}

/// Throws `invalid_argument` for more results than a call may have.
void require_pieces(const Node& node, int64_t count) {
  constexpr int64_t kMaxPieces = 1 << 16;
  if (count <= kMaxPieces) return;
  reject(node, "Use larger pieces, or aten.select.int.", "expected at most {} pieces, got {}",
         kMaxPieces, count);
}

std::vector<ValueType> infer_unbind(const Node& node) {
  ValueType type = node.operands[0]->type;
  const size_t dim = sliced_dim(node, type.shape.size());
  const int64_t count = type.shape[dim].value();
  require_pieces(node, count);
  type.shape.erase(type.shape.begin() + static_cast<ptrdiff_t>(dim));
  return std::vector<ValueType>(static_cast<size_t>(count), type);
}

std::optional<Layout> unbind_layout(const Node& node, size_t result, const Layout& operand) {
  return without_dim(operand, sliced_dim(node, operand.rank()), static_cast<int64_t>(result));
}

std::vector<ValueType> infer_split_with_sizes(const Node& node) {
  const ValueType& type = node.operands[0]->type;
  const size_t dim = sliced_dim(node, type.shape.size());
  std::vector<ValueType> pieces;
  Dim sum = 0;
  for (const Dim& size : node.dims("split_sizes")) {
    if (size.is_constant() && size.value() < 0) {
      reject(node, "Give the size of every piece.", "expected sizes of at least 0, got {}",
             to_string(node.dims("split_sizes")));
    }
    sum = sum + size;
    pieces.push_back(type);
    pieces.back().shape[dim] = size;
  }
  require_equal(node, fmt::format("the sum of {}", to_string(node.dims("split_sizes"))),
                type.shape[dim], sum);
  return pieces;
}

std::vector<ValueType> infer_split(const Node& node) {
  const ValueType& type = node.operands[0]->type;
  const size_t dim = sliced_dim(node, type.shape.size());
  const int64_t size = node.integer("split_size"), total = type.shape[dim].value();
  if (size < 0 || (size == 0 && total > 0)) {
    reject(node, "Give the size of the pieces.", "expected a size of at least 1, got {}", size);
  }
  if (size > 0) require_pieces(node, total / size);
  std::vector<ValueType> pieces;
  int64_t start = 0;
  do {  // a dim of size zero makes one empty piece
    pieces.push_back(type);
    pieces.back().shape[dim] = std::min(size, total - start);
    start += size;
  } while (start < total);
  return pieces;
}

std::optional<Layout> split_layout(const Node& node, size_t result, const Layout& operand) {
  const size_t dim = sliced_dim(node, operand.rank());
  Layout layout = operand;
  int64_t start = 0;
  for (size_t i = 0; i < result; ++i) start += node.results[i]->shape()[dim].value();
  layout.sizes[dim] = node.results[result]->shape()[dim].value();
  if (layout.sizes[dim] > 0) layout.offset += start * operand.strides[dim];
  return layout;
}

}  // namespace

void add_slice(ir::OpTable& table) {
  using enum ir::AttrKind;
  const auto add = [&](std::string_view name, std::vector<ir::AttrSpec> attributes, int results,
                       ir::OpRow::InferRule infer, ir::OpRow::ViewRule rule) {
    table.add({.name = name,
               .operands = {{"self"}},
               .attributes = std::move(attributes),
               .results = results,
               .infer = infer,
               .traits = {.view = true},
               .view = rule});
  };
  add("aten.slice.Tensor",
      {{"dim", integer, Dim(0)},
       {"start", integer, ir::Attribute{}},
       {"end", integer, ir::Attribute{}},
       {"step", integer, Dim(1)}},
      1, infer_slice, slice_layout);
  add("aten.select.int", {{"dim", integer}, {"index", integer}}, 1, infer_select, select_layout);
  add("aten.unbind.int", {{"dim", integer, Dim(0)}}, -1, infer_unbind, unbind_layout);
  add("aten.split_with_sizes", {{"split_sizes", integers}, {"dim", integer, Dim(0)}}, -1,
      infer_split_with_sizes, split_layout);
  add("aten.split.Tensor", {{"split_size", integer}, {"dim", integer, Dim(0)}}, -1, infer_split,
      split_layout);
}

}  // namespace ostinato::ops
