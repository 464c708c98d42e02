#include "ostinato/ops/index.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"
#include "ostinato/ops/slice.h"

namespace ostinato::ops {

using ir::Dim;
using ir::Node;
using ir::Shape;
using ir::Value;
using ir::ValueType;

Indexing indexing_of(const Node& node) {
  const Value* self = node.operand("self");
  const auto indices = node.list();
  if (indices.size() > self->rank()) {
    reject(node, "Give at most one index a dim.", "expected at most {} indices, got {}",
           self->rank(), indices.size());
  }
  Indexing indexing;
  for (size_t i = 0; i < indices.size(); ++i) {
    if (indices[i] == nullptr) continue;
    if (indices[i]->dtype() == DType::boolean || indices[i]->dtype() == DType::uint8) {
      reject(node, "Use aten.where, or aten.masked_scatter, which keep the shape.",
             "expected integer indices, got a {} mask, of which the result's shape would depend",
             name_of(indices[i]->dtype()));
    }
    require_index(node, indices[i]);
    indexing.dims.push_back(i);
  }
  if (indexing.dims.empty()) {
    reject(node, "Give at least one index tensor.", "expected index tensors, got None only");
  }
  indexing.index_shape = broadcast(node, indices);
  // Index tensors of neighbouring dims leave their shape there, others put it in front.
  const size_t first = indexing.dims.front(), count = indexing.dims.size();
  indexing.position = indexing.dims.back() == first + count - 1 ? first : 0;
  size_t next = 0;
  for (size_t i = 0; i < self->rank(); ++i) {
    if (next < count && indexing.dims[next] == i) {
      ++next;
    } else {
      indexing.shape.push_back(self->shape()[i]);
    }
  }
  indexing.shape.insert(indexing.shape.begin() + static_cast<ptrdiff_t>(indexing.position),
                        indexing.index_shape.begin(), indexing.index_shape.end());
  return indexing;
}

namespace {

std::vector<ValueType> infer_index(const Node& node) {
  return {{node.operands[0]->dtype(), indexing_of(node).shape}};
}

std::vector<ValueType> infer_index_put(const Node& node) {
  const Indexing indexing = indexing_of(node);
  Value* const pair[] = {node.operands[0], node.operand("values")};
  require_same_dtype(node, pair);
  require_broadcastable(node, pair[1], indexing.shape);
  return infer_same(node);
}

// As PyTorch counts, a scalar has one dim, of one element.
Shape at_least_one_dim(const Value* tensor) {
  return tensor->rank() == 0 ? Shape{1} : tensor->shape();
}

// The index may be smaller than the tensor along all dims but `dim`.
void check_index_within(const Node& node, const Value* index, const Value* tensor, size_t dim) {
  const Shape named = at_least_one_dim(index), sizes = at_least_one_dim(tensor);
  if (named.size() != sizes.size()) {
    reject(node, "Give the index as many dims as the tensor.", "expected {} dims, got {}",
           sizes.size(), to_string(index->shape()));
  }
  for (size_t i = 0; i < sizes.size(); ++i) {
    const Dim beyond = named[i] - sizes[i];
    if (i != dim && beyond.is_constant() && beyond.value() > 0) {
      reject(node, "Give a smaller index.", "expected an index within {}, got {}",
             to_string(tensor->shape()), to_string(index->shape()));
    }
  }
}

std::vector<ValueType> infer_gather(const Node& node) {
  const Value *self = node.operands[0], *index = node.operands[1];
  require_index(node, index);
  const size_t dim = wrap_dim(node, node.integer("dim"), self->rank());
  check_index_within(node, index, self, dim);
  return {{self->dtype(), index->shape()}};
}

std::vector<ValueType> infer_scatter(const Node& node) {
  const Value *self = node.operands[0], *index = node.operands[1];
  require_index(node, index);
  const size_t dim = wrap_dim(node, node.integer("dim"), self->rank());
  check_index_within(node, index, self, dim);
  if (node.operands.size() == 3) {
    const Value* src = node.operands[2];
    Value* const pair[] = {node.operands[0], node.operands[2]};
    require_same_dtype(node, pair);
    check_index_within(node, index, src, at_least_one_dim(index).size());
  }
  return infer_same(node);
}

std::vector<ValueType> infer_index_select(const Node& node) {
  const Value *self = node.operands[0], *index = node.operands[1];
  require_index(node, index);
  if (index->rank() > 1) {
    reject(node, "Use aten.index.Tensor.", "expected an index of at most 1 dim, got {}",
           to_string(index->shape()));
  }
  const size_t dim = wrap_dim(node, node.integer("dim"), self->rank());
  Shape shape = self->shape();
  if (!shape.empty()) shape[dim] = numel(index->shape());
  return {{self->dtype(), shape}};
}

std::vector<ValueType> infer_embedding(const Node& node) {
  const Value *weight = node.operands[0], *indices = node.operands[1];
  require_rank(node, weight, 2);
  require_index(node, indices);
  Shape shape = indices->shape();
  shape.push_back(weight->shape()[1]);
  return {{weight->dtype(), shape}};
}

void require_mask(const Node& node, const Value* mask) {
  if (mask->dtype() == DType::boolean) return;
  reject(node, "Compare with zero first (aten.ne.Scalar).", "expected a bool mask, got {}",
         name_of(mask->dtype()));
}

std::vector<ValueType> infer_masked(const Node& node) {
  require_mask(node, node.operands[1]);
  return {{node.operands[0]->dtype(), broadcast(node, {node.operands.data(), 2})}};
}

std::vector<ValueType> infer_masked_fill_tensor(const Node& node) {
  require_rank(node, node.operands[2], 0);
  return infer_masked(node);
}

std::vector<ValueType> infer_masked_scatter(const Node& node) {
  Value* const pair[] = {node.operands[0], node.operands[2]};
  require_same_dtype(node, pair);
  return infer_masked(node);
}

void require_src_shape(const Node& node, const Shape& expected) {
  Value* const pair[] = {node.operands[0], node.operands[1]};
  require_same_dtype(node, pair);
  const Shape& got = node.operands[1]->shape();
  bool same = got.size() == expected.size();
  for (size_t i = 0; same && i < got.size(); ++i) {
    const Dim difference = got[i] - expected[i];
    same = !difference.is_constant() || difference.is(0);
  }
  if (same) return;
  reject(node, "Give 'src' the shape of what it replaces.", "expected {}, got {}",
         to_string(expected), to_string(got));
}

std::vector<ValueType> infer_scatter_reduce(const Node& node) {
  constexpr std::array<std::string_view, 5> kReductions = {"sum", "prod", "mean", "amax", "amin"};
  const std::string& reduce = node.string("reduce");
  if (std::find(kReductions.begin(), kReductions.end(), reduce) == kReductions.end()) {
    reject(node, "Give one of them.", "expected one of {}, got '{}'", fmt::join(kReductions, ", "),
           reduce);
  }
  if (node.operands[0]->dtype() == DType::boolean) {
    reject(node, "Convert it with aten._to_copy.", "expected numbers, got bool");
  }
  return infer_scatter(node);
}

std::vector<ValueType> infer_slice_scatter(const Node& node) {
  Shape shape = node.operands[0]->shape();
  const Slice slice = slice_of(node, shape);
  shape[slice.dim] = slice.length;
  require_src_shape(node, shape);
  return infer_same(node);
}

std::vector<ValueType> infer_select_scatter(const Node& node) {
  Shape shape = node.operands[0]->shape();
  if (shape.empty()) reject(node, "Use aten.unsqueeze.", "expected at least 1 dim, got ()");
  const size_t dim = wrap_dim(node, node.integer("dim"), shape.size());
  wrap_position(node, node.dim("index"), shape[dim]);
  shape.erase(shape.begin() + static_cast<ptrdiff_t>(dim));
  require_src_shape(node, shape);
  return infer_same(node);
}

}  // namespace

void add_index(ir::OpTable& table) {
  using enum ir::AttrKind;
  const ir::OperandSpec indices{"indices", ir::OperandKind::optional_list};
  const ir::AttrSpec dim{"dim", integer};
  table.add({.name = "aten.index.Tensor", .operands = {{"self"}, indices}, .infer = infer_index});
  table.add({.name = "aten.index_put",
             .operands = {{"self"}, indices, {"values"}},
             .attributes = {{"accumulate", boolean, false}},
             .infer = infer_index_put,
             .traits = {.in_place = {{0, 0}}}});
  table.add({.name = "aten.gather",
             .operands = {{"self"}, {"index"}},
             .attributes = {dim, {"sparse_grad", boolean, false}},
             .infer = infer_gather});
  table.add({.name = "aten.scatter.value",
             .operands = {{"self"}, {"index"}},
             .attributes = {dim, {"value", scalar}},
             .infer = infer_scatter,
             .traits = {.in_place = {{0, 0}}}});
  for (const std::string_view name : {"aten.scatter.src", "aten.scatter_add"}) {
    table.add({.name = name,
               .operands = {{"self"}, {"index"}, {"src"}},
               .attributes = {dim},
               .infer = infer_scatter,
               .traits = {.in_place = {{0, 0}}}});
  }
  table.add({.name = "aten.scatter_reduce.two",
             .operands = {{"self"}, {"index"}, {"src"}},
             .attributes = {dim, {"reduce", string}, {"include_self", boolean, true}},
             .infer = infer_scatter_reduce});
  table.add({.name = "aten.index_select",
             .operands = {{"self"}, {"index"}},
             .attributes = {dim},
             .infer = infer_index_select});
  table.add({.name = "aten.embedding",
             .operands = {{"weight"}, {"indices"}},
             .attributes = {{"padding_idx", integer, Dim(-1)},
                            {"scale_grad_by_freq", boolean, false},
                            {"sparse", boolean, false}},
             .infer = infer_embedding});
  table.add({.name = "aten.masked_fill.Scalar",
             .operands = {{"self"}, {"mask"}},
             .attributes = {{"value", scalar}},
             .infer = infer_masked,
             .traits = {.elementwise = true}});
  table.add({.name = "aten.masked_fill.Tensor",
             .operands = {{"self"}, {"mask"}, {"value"}},
             .infer = infer_masked_fill_tensor,
             .traits = {.elementwise = true}});
  table.add({.name = "aten.masked_scatter",
             .operands = {{"self"}, {"mask"}, {"source"}},
             .infer = infer_masked_scatter});
  table.add({.name = "aten.slice_scatter",
             .operands = {{"self"}, {"src"}},
             .attributes = {{"dim", integer, Dim(0)},
                            {"start", integer, ir::Attribute{}},
                            {"end", integer, ir::Attribute{}},
                            {"step", integer, Dim(1)}},
             .infer = infer_slice_scatter,
             .traits = {.in_place = {{0, 0}}}});
  table.add({.name = "aten.select_scatter",
             .operands = {{"self"}, {"src"}},
             .attributes = {dim, {"index", integer}},
             .infer = infer_select_scatter,
             .traits = {.in_place = {{0, 0}}}});
}

}  // namespace ostinato::ops
