#include <algorithm>
#include <optional>

#include "ostinato/ops/infer.h"
#include "ostinato/ops/slice.h"
#include "ostinato/passes/pass.h"
#include "ostinato/passes/rewrite.h"

// A classifier that reads the first token, or a head that reads the last one, needs no other row of
// what computes each row by itself: of all behind the last attention's keys and values. The rows
// are taken in front of it.
namespace ostinato::passes {

namespace {

using ir::Attribute;
using ir::Dim;
using ir::Node;
using ir::Shape;
using ir::Value;

/// What a call takes of a dim of its first operand: a row for each of the `index`, or those from
/// `start` on if that is null.
struct Selection {
  size_t dim;
  Value* index;
  Dim start, length;

  bool operator==(const Selection&) const = default;
};

/// Nullopt for other calls, and where taking few rows early could be more work: not known to leave
/// half of them, or by an index that may come too late.
std::optional<Selection> selection_by(const Node& node) {
  const std::string_view name = node.op->name;
  if (!one_of(name, {"aten.index_select", "aten.select.int", "aten.slice.Tensor"}) ||
      node.operands[0]->rank() == 0) {
    return std::nullopt;
  }
  const Shape& whole = node.operands[0]->shape();
  Selection selection{ops::wrap_dim(node, node.integer("dim"), whole.size()), nullptr, 0, 1};
  const Dim& size = whole[selection.dim];
  if (name == "aten.slice.Tensor") {
    const ops::Slice slice = ops::slice_of(node, whole);
    if (slice.step != 1) return std::nullopt;
    selection.start = slice.start;
    selection.length = slice.length;
  } else if (name == "aten.select.int") {
    selection.start = ops::wrap_position(node, node.dim("index"), size);
  } else {
    selection.index = node.operand("index");
    if (selection.index->kind == ir::ValueKind::result) return std::nullopt;
    selection.length = node.results[0]->shape()[selection.dim];
  }
  const Dim& length = selection.length;
  const bool few = size.is_constant() && length.is_constant() && length.value() > 0 &&
                   length.value() <= size.value() / 2;
  return few ? std::optional(selection) : std::nullopt;
}

/// What all readers of the value take of it, if they take the same.
std::optional<Selection> selection_of(const Value* value) {
  if (value->uses.empty() || value->output_uses > 0) return std::nullopt;
  std::optional<Selection> all;
  for (const Value::Use& use : value->uses) {
    const auto one = use.operand == 0 ? selection_by(*use.node) : std::nullopt;
    if (!one || (all && *one != *all)) return std::nullopt;
    all = one;
  }
  return all;
}

/// The same of all results that are read.
std::optional<Selection> selection_of(const Node& node) {
  std::optional<Selection> all;
  for (const Value* result : node.results) {
    if (result->uses.empty() && result->output_uses == 0) continue;
    const std::optional<Selection> one = selection_of(result);
    if (!one || (all && *one != *all)) return std::nullopt;
    all = one;
  }
  return all;
}

/// Where the operands of a call have the rows that its results have along a dim: a dim of each, or
/// nullopt for one that every row needs as it is.
using OperandDims = std::vector<std::optional<size_t>>;

/// Of operands that are broadcast; only those for which `has_rows` of their name.
template <typename HasRows>
std::optional<OperandDims> broadcast_dims(const Node& node, size_t dim, HasRows has_rows) {
  const Shape& shape = node.results[0]->shape();
  const size_t behind = shape.size() - dim;
  const std::vector<ir::OperandSpec>& specs = node.op->operands;
  OperandDims dims(node.operands.size());
  for (size_t i = 0; i < dims.size(); ++i) {
    const Value* operand = node.operands[i];
    if (operand == nullptr || operand->rank() < behind) continue;
    if (!has_rows(specs[std::min(i, specs.size() - 1)].name)) continue;
    const size_t at = operand->rank() - behind;
    const Dim& size = operand->shape()[at];
    if (size.is(1)) continue;
    if (size != shape[dim]) return std::nullopt;
    dims[i] = at;
  }
  return dims;
}

/// The dim with the same elements, of the same stride, before a view gave it other neighbours.
std::optional<OperandDims> viewed_dims(const Node& node, size_t dim) {
  const auto stride = [](const Shape& shape, size_t at) {
    Dim product = 1;
    for (size_t i = at + 1; i < shape.size(); ++i) product = product * shape[i];
    return product;
  };
  const Shape &from = node.operands[0]->shape(), &to = node.results[0]->shape();
  for (size_t i = 0; i < from.size(); ++i) {
    if (from[i] == to[dim] && stride(from, i) == stride(to, dim)) return OperandDims{i};
  }
  return std::nullopt;
}

bool is_view(const Node& node) {
  return one_of(node.op->name,
                {"aten.view", "aten._unsafe_view", "aten.reshape", "aten.unsqueeze"});
}

/// Nullopt for a call whose rows along that dim are not computed each by itself.
std::optional<OperandDims> operand_dims(const Node& node, size_t dim) {
  const std::string_view name = node.op->name;
  const ir::OpTraits& traits = node.op->traits;
  if (traits.writes() || traits.random || shares_state(node.results[0])) return std::nullopt;
  if (traits.elementwise) {
    return broadcast_dims(node, dim, [](std::string_view) { return true; });
  }
  if (is_view(node)) return viewed_dims(node, dim);
  if (const auto order = permutation_of(node)) return OperandDims{(*order)[dim]};
  const size_t behind = node.results[0]->rank() - dim;
  const bool by_rows =
      behind > 1 && one_of(name, {"aten.linear", "linear", "linears", "gated_linear", "rms_norm",
                                  "add_rms_norm", "layer_norm", "add_layer_norm", "rotary"});
  if (!by_rows && !(name == "attention" && behind == 2)) return std::nullopt;
  return broadcast_dims(node, dim, [](std::string_view operand) {
    return one_of(operand, {"input", "self", "residual", "cos", "sin", "query", "mask"});
  });
}

size_t index_of(const ir::OpRow& op, std::string_view attribute) {
  const auto found = std::find_if(op.attributes.begin(), op.attributes.end(),
                                  [&](const auto& spec) { return spec.name == attribute; });
  return static_cast<size_t>(found - op.attributes.begin());
}

class Selector {
 public:
  explicit Selector(ir::Graph& graph) : graph_(graph) {}

  bool run() {
    bool changed = false;
    const auto& nodes = graph_.nodes();
    for (auto it = nodes.end(); it != nodes.begin();) {
      Node* node = std::prev(it)->get();
      const Node* last = push(node);
      if (last == nullptr) last = split(node);
      if (last == nullptr) {
        --it;
      } else {  // with what they read, the new calls come next
        it = std::next(ir::Graph::Nodes::const_iterator(last->position));
        changed = true;
      }
    }
    return changed;
  }

 private:
  // Both return the last of the calls that are in the node's place now; null if it is still there.

  /// Takes the rows of the call's operands instead of its results'.
  const Node* push(Node* node) {
    const std::optional<Selection> selection = selection_of(*node);
    const auto dims = selection ? operand_dims(*node, selection->dim) : std::nullopt;
    if (!dims) return nullptr;
    const bool moves = node->op->name == "attention" && node->flag("causal");
    if (moves && selection->index != nullptr && !selection->length.is(1)) return nullptr;
    ir::Builder build = builder_before(graph_, node);
    std::vector<Value*> operands = node->operands;
    for (size_t i = 0; i < operands.size(); ++i) {
      if ((*dims)[i]) operands[i] = rows_of(build, operands[i], *selection, *(*dims)[i]);
    }
    std::vector<Attribute> attributes = node->attributes;
    for (const std::string_view name : {"size", "shape"}) {
      const size_t at = index_of(*node->op, name);
      if (!is_view(*node) || at == attributes.size()) continue;
      Shape shape = node->results[0]->shape();
      shape[selection->dim] = selection->length;
      attributes[at] = std::move(shape);
    }
    if (moves) move_queries(build, *node, *selection, operands, attributes);
    Node* rows = graph_.insert_node(node, *node->op, std::move(operands), std::move(attributes));
    rows->source = node->source;
    for (size_t i = 0; i < node->results.size(); ++i) {
      take_over(node->results[i], rows->results[i]);
    }
    graph_.erase(node);
    return rows;
  }

  /// Gives the products of which few rows are read calls of their own.
  const Node* split(Node* node) {
    if (node->op->name != "linears") return nullptr;
    const auto few = [](const Value* result) { return selection_of(result).has_value(); };
    if (std::none_of(node->results.begin(), node->results.end(), few)) return nullptr;
    ir::Builder build = builder_before(graph_, node);
    const std::span<Value* const> pairs = node->list();
    std::vector<Value*> others{node->operands[0]};
    std::vector<Value*> left;
    const Node* last = nullptr;
    for (size_t i = 0; i < node->results.size(); ++i) {
      Value *result = node->results[i], *weight = pairs[2 * i], *bias = pairs[2 * i + 1];
      if (!few(result)) {
        others.insert(others.end(), {weight, bias});
        left.push_back(result);
        continue;
      }
      last = build.call("aten.linear", {node->operands[0], weight, bias});
      graph_.replace_all_uses(result, last->results[0]);
    }
    if (!left.empty()) {
      last = build.call(left.size() > 1 ? "linears" : "aten.linear", std::move(others));
    }
    for (size_t i = 0; i < left.size(); ++i) {
      graph_.replace_all_uses(left[i], last->results[i]);
    }
    graph_.erase(node);
    return last;
  }

  static Value* rows_of(ir::Builder& build, Value* value, const Selection& selection, size_t dim) {
    const ir::NamedAttribute along{"dim", static_cast<int64_t>(dim)};
    if (selection.index != nullptr) {
      return build("aten.index_select", {value, selection.index}, {along});
    }
    return build("aten.slice.Tensor", {value},
                 {along, {"start", selection.start}, {"end", selection.start + selection.length}});
  }

  /// A query attends the keys up to its own position, which is another one now.
  static void move_queries(ir::Builder& build, const Node& node, const Selection& selection,
                           std::vector<Value*>& operands, std::vector<Attribute>& attributes) {
    constexpr size_t kPosition = 4;
    Value*& position = operands[kPosition];
    if (selection.index != nullptr) {
      Value* row = build("aten.view", {selection.index}, {{"size", Shape{}}});
      position = position != nullptr
                     ? build("aten.add.Tensor", {row, position})
                     : build("aten.add.Scalar", {row}, {{"other", node.dim("offset")}});
    } else if (position != nullptr) {
      position = build("aten.add.Scalar", {position}, {{"other", selection.start}});
    } else {
      attributes[index_of(*node.op, "offset")] = node.dim("offset") + selection.start;
    }
  }

  /// What took rows of the value reads `rows` instead, which are those.
  void take_over(const Value* value, Value* rows) {
    while (!value->uses.empty()) {
      Node* reader = value->uses.front().node;
      Value* taken = rows;
      if (reader->op->name == "aten.select.int") {
        taken = builder_before(graph_, reader)("aten.squeeze.dim", {rows},
                                               {{"dim", reader->attribute("dim")}});
      }
      replace(graph_, reader, taken);
    }
  }

  ir::Graph& graph_;
};

}  // namespace

bool select_early(ir::Graph& graph, const PassContext&) { return Selector(graph).run(); }

}  // namespace ostinato::passes
