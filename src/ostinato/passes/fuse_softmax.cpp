#include <cmath>
#include <limits>

#include "ostinato/ir/builder.h"
#include "ostinato/passes/match.h"
#include "ostinato/passes/pass.h"
#include "ostinato/passes/rewrite.h"

// softmax(q · kᵀ · scale + mask) · v (Vaswani et al. 2017) as models write it by hand becomes one
// call, so that no matrix of scores is written. That one rounds less often in reduced precision,
// and gives zeros for a row that may attend nothing, where a softmax of nothing but -inf has NaN.
namespace ostinato::passes {

namespace {

using ir::Dim;
using ir::Node;
using ir::Shape;
using ir::Value;

// A score leaves nothing of itself in its sum with less than that: filling in and adding are one.
constexpr double kAbsorbing = -1e9;

/// The same elements in the same order.
bool is_reshape(const Node& node) {
  return one_of(node.op->name, {"aten.view", "aten._unsafe_view", "aten.reshape", "aten.clone",
                                "aten.unsqueeze", "aten.squeeze.dim"});
}

/// A cast between floats, or a reshape of more than single rows: softmax does not mind them.
bool keeps_rows(const Node& node) {
  const Value *from = node.operands.empty() ? nullptr : node.operands[0], *to = node.results[0];
  if (node.op->name == "aten._to_copy") {
    return is_floating(from->dtype()) && is_floating(to->dtype());
  }
  if (!is_reshape(node) || from->rank() < 3 || to->rank() < 3) return false;
  const auto size = [](const Value* x, size_t i) { return x->shape()[x->rank() - i]; };
  return size(from, 1) == size(to, 1) && size(from, 2) == size(to, 2);
}

/// The call that makes the value, if nothing but one operand of one call reads it.
const Node* only_call(const Value* value) {
  return value->uses.size() == 1 && value->output_uses == 0 ? value->producer : nullptr;
}

/// From the product of queries and keys to their softmax.
struct Scores {
  const Node* product = nullptr;
  double scale = 1;
  Shape shape;                 // where they are masked, or as far as is known
  Value* mask = nullptr;       // null for none
  std::optional<double> fill;  // what the mask puts in the place of scores; else it is added
  bool fills_where_true = false;
};

/// The scores that a call fills a number into, if it does.
Value* filled(const Node& node, Scores& scores) {
  const std::string_view name = node.op->name;
  Value* below = nullptr;
  if (name == "aten.where.self") {
    scores.mask = node.operand("condition");
    scores.fill = number(node.operand("self"));
    scores.fills_where_true = scores.fill.has_value();
    if (!scores.fill) scores.fill = number(node.operand("other"));
    below = node.operand(scores.fills_where_true ? "other" : "self");
  } else if (name == "aten.masked_fill.Scalar" || name == "aten.masked_fill.Tensor") {
    const bool scalar = name == "aten.masked_fill.Scalar";
    scores.mask = node.operand("mask");
    scores.fill = scalar ? scalar_of(node, "value") : number(node.operand("value"));
    scores.fills_where_true = true;
    below = node.operand("self");
  }
  const bool absorbs = scores.fill && *scores.fill <= kAbsorbing;
  return absorbs && scores.mask->dtype() == DType::boolean ? below : nullptr;
}

/// Goes down from a value to the product, adding to what is known of what lies above.
std::optional<Scores> scores_below(const Value* value, Scores scores) {
  for (;;) {
    const Node* node = only_call(value);
    if (node == nullptr) return std::nullopt;
    const bool product = one_of(node->op->name, {"aten.matmul", "aten.bmm"});
    if (scores.mask == nullptr && (product ? scores.shape.empty() : value->rank() == 4)) {
      scores.shape = value->shape();
    }
    if (product) {
      scores.product = node;
      return scores;
    }
    if (keeps_rows(*node)) {
      value = node->operands[0];
    } else if (const std::optional<Scaled> factor = scaled(*node)) {
      scores.scale *= factor->factor;
      value = factor->value;
    } else {
      if (scores.mask != nullptr || scores.scale != 1) return std::nullopt;
      scores.shape = value->shape();
      if (is_plain_sum(*node)) {
        for (const size_t side : {size_t{0}, size_t{1}}) {
          const Value* below = node->operands[side];
          scores.mask = node->operands[1 - side];
          const bool fits = below->shape() == scores.shape && is_floating(scores.mask->dtype());
          std::optional<Scores> found = fits ? scores_below(below, scores) : std::nullopt;
          if (found) return found;
        }
        return std::nullopt;
      }
      value = filled(*node, scores);
      if (value == nullptr || value->shape() != scores.shape) return std::nullopt;
    }
  }
}

/// An operand of a product without its scale, the cast to float32 and what else need not be made.
struct Plain {
  Value* value;
  double scale = 1;
  std::vector<const Node*> views;  // from the operand down to the value
};

Plain plain(Value* operand, DType dtype) {
  Plain found{operand, 1, {}};
  std::vector<const Node*> views;
  double scale = 1;
  for (Value* value = operand; value->kind == ir::ValueKind::result;) {
    const Node& node = *value->producer;
    if (const std::optional<Scaled> factor = scaled(node)) {
      value = factor->value;
      scale *= factor->factor;
    } else if (cast_from(value, dtype) != nullptr && value->dtype() == DType::float32) {
      value = node.operands[0];
    } else if (is_reshape(node) || permutation_of(node) || node.op->name == "aten.expand") {
      value = node.operands[0];
      views.push_back(&node);
      continue;
    } else {
      break;
    }
    found = {value, scale, views};
  }
  return found;
}

/// What becomes one call: (..., Sq, D), (..., D, Skv) and (..., Skv, Dv) of three or four dims.
struct Attention {
  Plain query, turned_key, value;
  Scores scores;
  Dim batch, heads;
  bool shared = false;  // one key head for all
};

/// Whether the first dims are (batch, heads), or their product.
bool leads(const Shape& shape, const Dim& batch, const Dim& heads) {
  if (shape.size() == 3) return shape[0] == batch * heads;
  return shape.size() == 4 && shape[0] == batch && shape[1] == heads;
}

/// Whether a call that writes to states stands between two others.
bool writes_between(const Node& first, const Node& last) {
  for (auto it = first.position; it != last.position; ++it) {
    if ((*it)->op->traits.mutates >= 0) return true;
  }
  return false;
}

std::optional<Attention> attention_of(const Node& node) {
  if (!one_of(node.op->name, {"aten.matmul", "aten.bmm"})) return std::nullopt;
  const Value *weights = node.operands[0], *softmax = weights;
  for (const Node* call = only_call(softmax); call != nullptr && keeps_rows(*call);
       call = only_call(softmax)) {
    softmax = call->operands[0];
  }
  const Node* call = only_call_of(softmax, {"aten._softmax"});
  if (call == nullptr) return std::nullopt;
  const int64_t dim = call->integer("dim");
  if (dim != -1 && dim != static_cast<int64_t>(softmax->rank()) - 1) return std::nullopt;
  std::optional<Scores> scores = scores_below(call->operands[0], {});
  if (!scores) return std::nullopt;

  const Node& product = *scores->product;
  const Value *q = product.operands[0], *k = product.operands[1], *v = node.operands[1];
  Shape& masked = scores->shape;
  if (masked.size() == 3) masked.insert(masked.begin(), 1);
  if (masked.size() != 4) return std::nullopt;
  const Dim &batch = masked[0], &heads = masked[1];
  const bool shared =
      k->rank() == 4 && v->rank() == 4 && k->shape()[1].is(1) && v->shape()[1].is(1);
  const Dim key_heads = shared ? Dim(1) : heads;
  if (!leads(weights->shape(), batch, heads) || !leads(q->shape(), batch, heads) ||
      !leads(k->shape(), batch, key_heads) || !leads(v->shape(), batch, key_heads)) {
    return std::nullopt;
  }
  const auto size = [](const Value* x, size_t i) { return x->shape()[x->rank() - i]; };
  if (size(q, 1) != size(k, 2) || size(k, 1) != size(v, 2) || size(q, 2) != masked[2] ||
      size(k, 1) != masked[3]) {
    return std::nullopt;
  }
  Attention found{plain(product.operands[0], v->dtype()),
                  plain(product.operands[1], v->dtype()),
                  {node.operands[1], 1, {}},
                  *scores,
                  batch,
                  heads,
                  shared};
  found.scores.scale *= found.query.scale * found.turned_key.scale;
  const bool same = found.query.value->dtype() == v->dtype() &&
                    found.turned_key.value->dtype() == v->dtype() && is_floating(v->dtype());
  if (!same || !std::isfinite(found.scores.scale)) return std::nullopt;
  for (const Value* read : {found.query.value, found.turned_key.value, found.scores.mask}) {
    if (read == nullptr || !shares_state(read)) continue;
    if (writes_between(product, node)) return std::nullopt;
  }
  return found;
}

/// Makes the calls that take the place of `node`.
class Writer {
 public:
  Writer(ir::Graph& graph, const Node* node)
      : graph_(graph), node_(node), build_(builder_before(graph, node)) {}

  Value* operator()(const Attention& attention) {
    Value* query = with_heads(views_of(attention.query), attention);
    Value* key = turned(with_heads(views_of(attention.turned_key), attention));
    Value* value = with_heads(attention.value.value, attention);
    Value* y =
        build_("aten.scaled_dot_product_attention", {query, key, value, mask_of(attention.scores)},
               {{"scale", attention.scores.scale}, {"enable_gqa", attention.shared}});
    const ir::ValueType& type = node_->results[0]->type;
    return y->type == type ? y : build_("aten.view", {y}, {{"size", type.shape}});
  }

 private:
  /// The operand again, over the plain value.
  Value* views_of(const Plain& plain) {
    Value* value = plain.value;
    for (size_t i = plain.views.size(); i-- > 0;) {
      const Node& view = *plain.views[i];
      value = graph_.insert_node(node_, *view.op, {value}, view.attributes)->results[0];
      value->producer->source = view.source;
    }
    return value;
  }

  /// (batch, heads, a, b) of (batch · heads, a, b): of what was reshaped to that, if it was.
  Value* with_heads(Value* value, const Attention& attention) {
    if (value->rank() == 4) return value;
    const Shape shape{attention.batch, attention.heads, value->shape()[1], value->shape()[2]};
    for (const Node* node = value->producer; node != nullptr && is_reshape(*node);
         node = node->operands[0]->producer) {
      if (node->operands[0]->shape() == shape) return node->operands[0];
    }
    return build_("aten.view", {value}, {{"size", shape}});
  }

  /// The keys of turned keys: at best what was turned.
  Value* turned(Value* value) {
    const Node* node = value->producer;
    const auto order = node != nullptr ? permutation_of(*node) : std::nullopt;
    if (order == std::vector<size_t>{0, 1, 3, 2}) return node->operands[0];
    return build_("aten.transpose.int", {value}, {{"dim0", 2}, {"dim1", 3}});
  }

  Value* mask_of(const Scores& scores) {
    if (!scores.fill) return scores.mask;
    Value* allowed =
        scores.fills_where_true ? build_("aten.logical_not", {scores.mask}) : scores.mask;
    if (*scores.fill < std::numeric_limits<float>::lowest()) return allowed;
    // Where all is forbidden the weights are equal, and so they stay.
    return build_("aten.where.self", {allowed, scalar(0), scalar(*scores.fill)});
  }

  Value* scalar(double value) {
    return build_("aten.scalar_tensor", {}, {{"s", value}, {"dtype", DType::float32}});
  }

  ir::Graph& graph_;
  const Node* node_;
  ir::Builder build_;
};

Value* fuse_chain(ir::Graph& graph, const Node* node) {
  const std::optional<Attention> attention = attention_of(*node);
  return attention ? Writer(graph, node)(*attention) : nullptr;
}

}  // namespace

bool fuse_softmax(ir::Graph& graph, const PassContext&) { return fuse_calls(graph, {fuse_chain}); }

}  // namespace ostinato::passes
