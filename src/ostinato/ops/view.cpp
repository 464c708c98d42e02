#include <algorithm>

#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

namespace {

using ir::Dim;
using ir::Layout;
using ir::Node;
using ir::Shape;
using ir::ValueType;

std::vector<ValueType> like_operand(const Node& node, Shape shape) {
  return {{node.operands[0]->dtype(), std::move(shape)}};
}

size_t wrapped(const Node& node, std::string_view name, size_t rank) {
  return wrap_dim(node, node.integer(name), rank);
}

std::vector<int64_t> result_sizes(const Node& node, size_t result) {
  return ir::to_integers(node.results[result]->shape());
}

template <const char* attribute>
std::vector<ValueType> infer_view(const Node& node) {
  const Shape& from = node.operands[0]->shape();
  Shape size = node.dims(attribute);
  Dim known = 1;
  Dim* unknown = nullptr;
  for (Dim& dim : size) {
    if (!dim.is(-1)) {
      known = known * dim;
    } else if (unknown == nullptr) {
      unknown = &dim;
    } else {
      reject(node, "Leave one size to be worked out.", "expected at most one -1, got {}",
             to_string(node.dims(attribute)));
    }
  }
  const Dim total = numel(from);
  if (unknown != nullptr) {
    if (known.is(0)) {
      reject(node, "Give that size too.", "cannot work out -1 in {} for no elements",
             to_string(node.dims(attribute)));
    }
    *unknown = floor_div(total, known);
    known = known * *unknown;
  }
  const Dim difference = total - known;
  if (difference.is_constant() && !difference.is(0)) {
    reject(node, "Check the sizes.", "expected {} elements as in {}, got {}", total.str(),
           to_string(from), to_string(node.dims(attribute)));
  }
  return like_operand(node, std::move(size));
}

std::optional<Layout> reshape_layout(const Node& node, size_t result, const Layout& operand) {
  return operand.reshape(result_sizes(node, result));
}

constexpr char kSize[] = "size";
constexpr char kShape[] = "shape";

// Result dim i is operand dim order[i].
std::vector<size_t> order_of(const Node& node, size_t rank) {
  std::vector<size_t> order(rank);
  for (size_t i = 0; i < rank; ++i) order[i] = i;
  const std::string_view name = node.op->name;
  if (name == "aten.permute") {
    const std::vector<int64_t> dims = node.integers("dims");
    if (dims.size() != rank) {
      reject(node, "Name every dim once.", "expected {} dims, got {}", rank, dims.size());
    }
    return wrap_dims(node, dims, rank);
  }
  if (name == "aten.transpose.int") {
    const size_t dim0 = wrapped(node, "dim0", rank), dim1 = wrapped(node, "dim1", rank);
    if (rank > 0) std::swap(order[dim0], order[dim1]);
  } else if (rank == 2) {  // aten.t
    std::swap(order[0], order[1]);
  }
  return order;
}

std::vector<ValueType> infer_permute(const Node& node) {
  const Shape& from = node.operands[0]->shape();
  if (node.op->name == "aten.t" && from.size() > 2) {
    reject(node, "Use aten.permute.", "expected at most 2 dims, got {}", to_string(from));
  }
  Shape shape;
  for (size_t dim : order_of(node, from.size())) shape.push_back(from[dim]);
  return like_operand(node, std::move(shape));
}

std::optional<Layout> permute_layout(const Node& node, size_t, const Layout& operand) {
  Layout result{{}, {}, operand.offset};
  for (size_t dim : order_of(node, operand.rank())) {
    result.sizes.push_back(operand.sizes[dim]);
    result.strides.push_back(operand.strides[dim]);
  }
  return result;
}

std::vector<ValueType> infer_expand(const Node& node) {
  const Shape& from = node.operands[0]->shape();
  Shape size = node.dims("size");
  if (size.size() < from.size()) {
    reject(node, "Give as many sizes as there are dims, or more.",
           "expected at least {} sizes, got {}", from.size(), to_string(size));
  }
  const size_t added = size.size() - from.size();
  for (size_t i = 0; i < size.size(); ++i) {
    if (size[i].is(-1)) {
      if (i < added) {
        reject(node, "Give the sizes of new dims.", "cannot work out -1 for new dim {} of {}", i,
               to_string(size));
      }
      size[i] = from[i - added];
    } else if (i >= added && !from[i - added].is(1)) {
      require_equal(node, fmt::format("size {} of {}", i, to_string(size)), from[i - added],
                    size[i]);
    }
  }
  return like_operand(node, std::move(size));
}

std::optional<Layout> expand_layout(const Node& node, size_t result, const Layout& operand) {
  Layout layout{result_sizes(node, result), {}, operand.offset};
  layout.strides.assign(layout.rank(), 0);
  const size_t added = layout.rank() - operand.rank();
  for (size_t i = 0; i < operand.rank(); ++i) {
    if (operand.sizes[i] == layout.sizes[added + i]) {
      layout.strides[added + i] = operand.strides[i];
    }
  }
  return layout;
}

std::vector<ValueType> infer_unsqueeze(const Node& node) {
  Shape shape = node.operands[0]->shape();
  const size_t dim = wrapped(node, "dim", shape.size() + 1);
  shape.insert(shape.begin() + static_cast<ptrdiff_t>(dim), Dim(1));
  return like_operand(node, std::move(shape));
}

std::optional<Layout> unsqueeze_layout(const Node& node, size_t, const Layout& operand) {
  Layout result = operand;
  const size_t dim = wrapped(node, "dim", operand.rank() + 1);
  const auto at = static_cast<ptrdiff_t>(dim);
  const int64_t stride =
      dim < operand.rank() ? operand.sizes[dim] * operand.strides[dim] : int64_t{1};
  result.sizes.insert(result.sizes.begin() + at, 1);
  result.strides.insert(result.strides.begin() + at, stride);
  return result;
}

// Which dims go away: those named, or all, that have size one.
std::vector<bool> squeezed(const Node& node) {
  const Shape& shape = node.operands[0]->shape();
  std::vector<bool> named(shape.size(), node.op->name == "aten.squeeze");
  const auto name_dim = [&](size_t dim) {
    if (dim < named.size()) named[dim] = true;
  };
  if (node.op->name == "aten.squeeze.dim") name_dim(wrapped(node, "dim", shape.size()));
  if (node.op->name == "aten.squeeze.dims") {
    for (size_t dim : wrap_dims(node, node.integers("dim"), shape.size())) name_dim(dim);
  }
  for (size_t i = 0; i < shape.size(); ++i) named[i] = named[i] && shape[i].is(1);
  return named;
}

std::vector<ValueType> infer_squeeze(const Node& node) {
  const std::vector<bool> gone = squeezed(node);
  Shape shape;
  for (size_t i = 0; i < gone.size(); ++i) {
    if (!gone[i]) shape.push_back(node.operands[0]->shape()[i]);
  }
  return like_operand(node, std::move(shape));
}

std::optional<Layout> squeeze_layout(const Node& node, size_t, const Layout& operand) {
  const std::vector<bool> gone = squeezed(node);
  Layout result{{}, {}, operand.offset};
  for (size_t i = 0; i < gone.size(); ++i) {
    if (gone[i]) continue;
    result.sizes.push_back(operand.sizes[i]);
    result.strides.push_back(operand.strides[i]);
  }
  return result;
}

std::optional<Layout> alias_layout(const Node&, size_t, const Layout& operand) { return operand; }

std::vector<ValueType> infer_diagonal(const Node& node) {
  const Shape& from = node.operands[0]->shape();
  const size_t dim1 = wrapped(node, "dim1", from.size());
  const size_t dim2 = wrapped(node, "dim2", from.size());
  if (dim1 == dim2 || from.size() < 2) {
    reject(node, "Name two dims.", "expected two different dims, got {} of {}", dim1,
           to_string(from));
  }
  const int64_t offset =
      std::max(node.integer("offset"), -std::numeric_limits<int64_t>::max());  // has an opposite
  const Dim rows = from[dim1] - Dim(std::max<int64_t>(-offset, 0));
  const Dim columns = from[dim2] - Dim(std::max<int64_t>(offset, 0));
  Shape shape;
  for (size_t i = 0; i < from.size(); ++i) {
    if (i != dim1 && i != dim2) shape.push_back(from[i]);
  }
  shape.push_back(max(min(rows, columns), 0));
  return like_operand(node, std::move(shape));
}

std::optional<Layout> diagonal_layout(const Node& node, size_t result, const Layout& operand) {
  const size_t dim1 = wrapped(node, "dim1", operand.rank());
  const size_t dim2 = wrapped(node, "dim2", operand.rank());
  const int64_t offset = node.integer("offset");
  Layout layout{result_sizes(node, result), {}, operand.offset};
  for (size_t i = 0; i < operand.rank(); ++i) {
    if (i != dim1 && i != dim2) layout.strides.push_back(operand.strides[i]);
  }
  layout.strides.push_back(operand.strides[dim1] + operand.strides[dim2]);
  if (layout.numel() > 0) {
    layout.offset += offset >= 0 ? offset * operand.strides[dim2] : -offset * operand.strides[dim1];
  }
  return layout;
}

std::vector<ValueType> infer_unfold(const Node& node) {
  Shape shape = node.operands[0]->shape();
  const size_t dim = wrapped(node, "dimension", shape.size());
  const int64_t size = node.integer("size"), step = node.integer("step");
  if (shape.empty()) reject(node, "Use aten.unsqueeze.", "expected at least 1 dim, got ()");
  const bool too_large = shape[dim].is_constant() && shape[dim].value() < size;
  if (size < 0 || step < 1 || too_large) {
    reject(node, "Choose a window within the dim.",
           "expected a window of size in [0, {}] and a step of at least 1, got {} and {}",
           shape[dim].str(), size, step);
  }
  shape[dim] = floor_div(shape[dim] - Dim(size), step) + Dim(1);
  shape.emplace_back(size);
  return like_operand(node, std::move(shape));
}

std::optional<Layout> unfold_layout(const Node& node, size_t result, const Layout& operand) {
  const size_t dim = wrapped(node, "dimension", operand.rank());
  Layout layout{result_sizes(node, result), operand.strides, operand.offset};
  layout.strides.push_back(operand.strides[dim]);
  // The stride of one window alone is never used, and its step may be any number.
  if (layout.sizes[dim] > 1) layout.strides[dim] *= node.integer("step");
  return layout;
}

// Strides count from the first element of the operand as if it were contiguous.
std::vector<ValueType> infer_as_strided(const Node& node) {
  const Shape& size = node.dims("size");
  const Shape& stride = node.dims("stride");
  if (size.size() != stride.size()) {
    reject(node, "Give a stride for every size.", "expected {} strides, got {}", size.size(),
           stride.size());
  }
  Dim last = node.has("storage_offset") ? node.dim("storage_offset") : Dim(0);
  bool empty = false;
  if (last.is_constant() && last.value() < 0) {
    reject(node, "Count from the operand's first element.",
           "expected a storage_offset of at least 0, got {}", last.str());
  }
  for (size_t i = 0; i < size.size(); ++i) {
    empty = empty || size[i].is(0);
    last = last + (size[i] - Dim(1)) * stride[i];
    if (stride[i].is_constant() && stride[i].value() < 0) {
      reject(node, "Use aten.flip.", "expected strides of at least 0, got {}", to_string(stride));
    }
  }
  const Dim room = numel(node.operands[0]->shape()) - last;
  if (!empty && room.is_constant() && room.value() < 1) {
    reject(node, "Check sizes, strides and offset.",
           "expected elements within the {} of the operand, got one at {}",
           numel(node.operands[0]->shape()).str(), last.str());
  }
  return like_operand(node, size);
}

std::optional<Layout> as_strided_layout(const Node& node, size_t, const Layout& operand) {
  if (!operand.is_contiguous()) return std::nullopt;
  const int64_t offset = node.has("storage_offset") ? node.integer("storage_offset") : 0;
  return Layout{node.integers("size"), node.integers("stride"), operand.offset + offset};
}

}  // namespace

void add_view(ir::OpTable& table) {
  using enum ir::AttrKind;
  const ir::OpTraits view{.view = true};
  const auto add = [&](std::string_view name, std::vector<ir::AttrSpec> attributes,
                       ir::OpRow::InferRule infer, ir::OpRow::ViewRule rule) {
    table.add({.name = name,
               .operands = {{"self"}},
               .attributes = std::move(attributes),
               .infer = infer,
               .traits = view,
               .view = rule});
  };
  add("aten.view", {{"size", integers}}, infer_view<kSize>, reshape_layout);
  add("aten._unsafe_view", {{"size", integers}}, infer_view<kSize>, reshape_layout);
  add("aten.reshape", {{"shape", integers}}, infer_view<kShape>, reshape_layout);
  add("aten.permute", {{"dims", integers}}, infer_permute, permute_layout);
  add("aten.transpose.int", {{"dim0", integer}, {"dim1", integer}}, infer_permute, permute_layout);
  add("aten.t", {}, infer_permute, permute_layout);
  add("aten.expand", {{"size", integers}, {"implicit", boolean, false}}, infer_expand,
      expand_layout);
  add("aten.unsqueeze", {{"dim", integer}}, infer_unsqueeze, unsqueeze_layout);
  add("aten.squeeze", {}, infer_squeeze, squeeze_layout);
  add("aten.squeeze.dim", {{"dim", integer}}, infer_squeeze, squeeze_layout);
  add("aten.squeeze.dims", {{"dim", integers}}, infer_squeeze, squeeze_layout);
  add("aten.alias", {}, infer_same, alias_layout);
  add("aten.detach", {}, infer_same, alias_layout);
  add("aten.diagonal",
      {{"offset", integer, Dim(0)}, {"dim1", integer, Dim(0)}, {"dim2", integer, Dim(1)}},
      infer_diagonal, diagonal_layout);
  add("aten.unfold", {{"dimension", integer}, {"size", integer}, {"step", integer}}, infer_unfold,
      unfold_layout);
  add("aten.as_strided",
      {{"size", integers}, {"stride", integers}, {"storage_offset", integer, ir::Attribute{}}},
      infer_as_strided, as_strided_layout);
}

}  // namespace ostinato::ops
