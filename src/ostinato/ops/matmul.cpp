#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

namespace {

using ir::Dim;
using ir::Node;
using ir::Shape;
using ir::Value;
using ir::ValueType;

void require_inner(const Node& node, const Dim& left, const Dim& right) {
  const Dim difference = left - right;
  if (!difference.is_constant() || difference.is(0)) return;
  reject(node, "Check the operands' shapes.",
         "expected inner sizes to be equal, got {} and {}: {} by {}", left.str(), right.str(),
         to_string(node.operands[node.operands.size() - 2]->shape()),
         to_string(node.operands.back()->shape()));
}

// The last two operands are multiplied, after a third, if there is one, that is added.
template <size_t rank>
std::vector<ValueType> infer_product(const Node& node) {
  const Value* a = node.operands[node.operands.size() - 2];
  const Value* b = node.operands.back();
  require_floating(node, node.operands[0]);
  require_same_dtype(node, node.operands);
  require_rank(node, a, rank);
  require_rank(node, b, rank);
  require_inner(node, a->shape()[rank - 1], b->shape()[rank - 2]);
  Shape shape = a->shape();
  if (rank == 3) require_equal(node, "the batch of the second", shape[0], b->shape()[0]);
  shape[rank - 1] = b->shape()[rank - 1];
  if (node.operands.size() == 3) require_broadcastable(node, node.operands[0], shape);
  return {{a->dtype(), shape}};
}

std::vector<ValueType> infer_dot(const Node& node) {
  require_floating(node, node.operands[0]);
  require_same_dtype(node, node.operands);
  for (const Value* operand : node.operands) require_rank(node, operand, 1);
  require_inner(node, node.operands[0]->shape()[0], node.operands[1]->shape()[0]);
  return {{node.operands[0]->dtype(), {}}};
}

std::vector<ValueType> infer_mv(const Node& node) {
  require_floating(node, node.operands[0]);
  require_same_dtype(node, node.operands);
  require_rank(node, node.operands[0], 2);
  require_rank(node, node.operands[1], 1);
  require_inner(node, node.operands[0]->shape()[1], node.operands[1]->shape()[0]);
  return {{node.operands[0]->dtype(), {node.operands[0]->shape()[0]}}};
}

// NumPy's rules: a vector is a row on the left, a column on the right; leading dims broadcast.
std::vector<ValueType> infer_matmul(const Node& node) {
  require_floating(node, node.operands[0]);
  require_same_dtype(node, node.operands);
  Shape a = node.operands[0]->shape(), b = node.operands[1]->shape();
  if (a.empty() || b.empty()) {
    reject(node, "Use aten.mul.Tensor.", "expected at least 1 dim, got {} and {}", to_string(a),
           to_string(b));
  }
  const bool row = a.size() == 1, column = b.size() == 1;
  if (row) a.insert(a.begin(), Dim(1));
  if (column) b.emplace_back(1);
  require_inner(node, a.back(), b[b.size() - 2]);
  const Dim rows = a[a.size() - 2], columns = b.back();
  Shape shape = broadcast(node, Shape(a.begin(), a.end() - 2), Shape(b.begin(), b.end() - 2));
  if (!row) shape.push_back(rows);
  if (!column) shape.push_back(columns);
  return {{node.operands[0]->dtype(), shape}};
}

// A run of rows of `input` for each matrix of `weight`; `offs` says where each run ends.
std::vector<ValueType> infer_grouped(const Node& node) {
  const Value *input = node.operands[0], *weight = node.operands[1], *offs = node.operands[2];
  require_floating(node, input);
  require_same_dtype(node, {node.operands.data(), 2});
  require_rank(node, input, 2);
  require_rank(node, weight, 3);
  require_rank(node, offs, 1);
  require_index(node, offs);
  require_equal(node, "the length of 'offs'", weight->shape()[0], offs->shape()[0]);
  require_equal(node, "the columns of 'input'", weight->shape()[1], input->shape()[1]);
  return {{input->dtype(), {input->shape()[0], weight->shape()[2]}}};
}

// x with self · x = B, or x · self = B, of which only one triangle of self is read.
std::vector<ValueType> infer_triangular(const Node& node) {
  const Value *self = node.operands[0], *other = node.operands[1];
  require_floating(node, self);
  require_same_dtype(node, node.operands);
  const Shape &a = self->shape(), &b = other->shape();
  if (a.size() < 2 || b.size() < 2) {
    reject(node, "Give matrices.", "expected at least 2 dims, got {} and {}", to_string(a),
           to_string(b));
  }
  require_equal(node, "the columns of 'self'", a[a.size() - 2], a.back());
  require_equal(node, node.flag("left") ? "the rows of 'B'" : "the columns of 'B'", a.back(),
                node.flag("left") ? b[b.size() - 2] : b.back());
  Shape shape = broadcast(node, Shape(a.begin(), a.end() - 2), Shape(b.begin(), b.end() - 2));
  shape.insert(shape.end(), b.end() - 2, b.end());
  return {{other->dtype(), shape}};
}

}  // namespace

void add_matmul(ir::OpTable& table) {
  using enum ir::AttrKind;
  const ir::AttrSpec beta{"beta", scalar, Dim(1)}, alpha{"alpha", scalar, Dim(1)};
  table.add({.name = "aten.mm", .operands = {{"self"}, {"mat2"}}, .infer = infer_product<2>});
  table.add({.name = "aten.bmm", .operands = {{"self"}, {"mat2"}}, .infer = infer_product<3>});
  // beta * self + alpha * (mat1 @ mat2)
  table.add({.name = "aten.addmm",
             .operands = {{"self"}, {"mat1"}, {"mat2"}},
             .attributes = {beta, alpha},
             .infer = infer_product<2>});
  table.add({.name = "aten.baddbmm",
             .operands = {{"self"}, {"batch1"}, {"batch2"}},
             .attributes = {beta, alpha},
             .infer = infer_product<3>});
  table.add({.name = "aten.matmul", .operands = {{"self"}, {"other"}}, .infer = infer_matmul});
  table.add({.name = "aten.dot", .operands = {{"self"}, {"tensor"}}, .infer = infer_dot});
  table.add({.name = "aten.mv", .operands = {{"self"}, {"vec"}}, .infer = infer_mv});
  table.add({.name = "aten.linalg_solve_triangular",
             .operands = {{"self"}, {"B"}},
             .attributes = {{"upper", boolean},
                            {"left", boolean, true},
                            {"unitriangular", boolean, false}},
             .infer = infer_triangular});
  table.add({.name = "transformers.grouped_mm_fallback",
             .operands = {{"input"}, {"weight"}, {"offs"}},
             .infer = infer_grouped});
}

}  // namespace ostinato::ops
