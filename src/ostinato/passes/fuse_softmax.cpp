#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

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
  return is_read_once(value) ? value->producer : nullptr;
}

/// From the product of queries and keys to their softmax.
struct Scores {
  const Node* product = nullptr;
  double scale = 1;
  Shape shape;                 // where they are masked, or as far as is known
  Value* mask = nullptr;       // null for none
  Value* second = nullptr;     // is added too; null for none
  std::optional<double> fill;  // what the mask puts in the place of scores; else it is added
  bool fills_where_true = false;
  const Value* flat = nullptr;    // which of the masks is of (batch · heads, Sq, Skv)
  std::optional<double> softcap;  // cap · tanh(scores / cap), before they are masked
  Value* sinks = nullptr;         // (H), a logit of each head beside its scores; null for none
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

std::optional<Scores> scores_below(const Value* value, Scores scores, bool known = false);

/// Of beta · mask + alpha · (q · kᵀ).
std::optional<Scores> product_with_mask(const Node& node, Scores scores) {
  const std::optional<double> alpha = scalar_of(node, "alpha"), beta = scalar_of(node, "beta");
  if (!alpha) return std::nullopt;
  if (beta != 0.0) {
    const bool open = scores.scale == 1 && !scores.softcap && !scores.fill && !scores.second;
    Value* mask = node.operands[0];
    if (beta != 1.0 || !open || !is_floating(mask->dtype())) return std::nullopt;
    (scores.mask == nullptr ? scores.mask : scores.second) = mask;
    scores.flat = mask;
  }
  scores.scale *= *alpha;
  return scores;
}

/// Of scores with a mask added.
std::optional<Scores> masked_below(const Node& sum, Scores scores) {
  if (scores.fill) return std::nullopt;
  if (scores.mask == nullptr) scores.shape = sum.results[0]->shape();
  Value*& mask = scores.mask == nullptr ? scores.mask : scores.second;
  for (const size_t side : {size_t{0}, size_t{1}}) {
    const Value* below = sum.operands[side];
    mask = sum.operands[1 - side];
    const bool fits = below->shape() == scores.shape && is_floating(mask->dtype());
    std::optional<Scores> found = fits ? scores_below(below, scores) : std::nullopt;
    if (found) return found;
  }
  return std::nullopt;
}

/// Goes down from a value to the product, adding to what is known of what lies above.
/// @param known that nothing else needs the first value
std::optional<Scores> scores_below(const Value* value, Scores scores, bool known) {
  for (;;) {
    const Node* node = std::exchange(known, false) ? value->producer : only_call(value);
    if (node == nullptr) return std::nullopt;
    const bool masks = node->op->name == "aten.baddbmm";
    const bool product = masks || one_of(node->op->name, {"aten.matmul", "aten.bmm"});
    if (scores.mask == nullptr && (product ? scores.shape.empty() : value->rank() == 4)) {
      scores.shape = value->shape();
    }
    if (product) {
      scores.product = node;
      return masks ? product_with_mask(*node, scores) : std::optional(scores);
    }
    if (keeps_rows(*node)) {
      value = node->operands[0];
    } else if (const std::optional<Scaled> factor = scaled(*node)) {
      scores.scale *= factor->factor;
      value = factor->value;
    } else if (node->op->name == "aten.tanh" && !scores.softcap && scores.scale > 0) {
      scores.softcap = std::exchange(scores.scale, 1);
      value = node->operands[0];
    } else {
      if (scores.scale != 1 || scores.softcap || scores.second != nullptr) return std::nullopt;
      if (is_plain_sum(*node)) return masked_below(*node, scores);
      if (scores.mask != nullptr) return std::nullopt;
      scores.shape = value->shape();
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

/// Whether the value is all but the last element of each of the rows of another.
bool is_without_last(const Value* value) {
  const std::optional<Part> part = part_of_last_dim(value);
  return part && part->start.is(0) && part->step == 1 &&
         part->length + 1 == part->whole->shape().back();
}

/// x of x - max(x), which has the same softmax; else the value itself.
const Value* unshifted(const Value* value) {
  const Node* node = only_call_of(value, {"aten.sub.Tensor"});
  if (node == nullptr || scalar_of(*node, "alpha") != 1.0) return value;
  const Value *x = node->operands[0], *most = node->operands[1];
  const Node* max = only_call_of(most, {"aten.amax", "aten.max.dim"});
  const bool same = max != nullptr && max->operands[0] == x && most->index == 0 &&
                    x->uses.size() == 2 && x->output_uses == 0 && max->flag("keepdim");
  if (!same) return value;
  if (max->op->name == "aten.amax") return is_over_last_dim(*max) ? x : value;
  return is_last_dim(max->integer("dim"), x) ? x : value;
}

/// Of scores beside which each row has the sink of its head, as (B, H, Sq, Skv + 1).
std::optional<Scores> scores_beside_sinks(const Value* value) {
  const Node* joined = call_of(value, {"aten.cat"});
  if (joined == nullptr || value->rank() != 4 || joined->list().size() != 2) return std::nullopt;
  const int64_t dim = joined->integer("dim");
  const Node* expanded = call_of(joined->list()[1], {"aten.expand"});
  if ((dim != -1 && dim != 3) || expanded == nullptr) return std::nullopt;
  const Value* raised = expanded->operands[0];
  const Node* reshape = call_of(raised, {"aten.view", "aten.reshape"});
  Value* sinks = reshape != nullptr ? reshape->operands[0] : nullptr;
  if (sinks == nullptr || sinks->rank() != 1 || !is_floating(sinks->dtype())) return std::nullopt;
  if (raised->shape() != Shape{1, value->shape()[1], 1, 1}) return std::nullopt;
  std::optional<Scores> scores = scores_below(joined->list()[0], {});
  if (scores) scores->sinks = sinks;
  return scores;
}

/// The softmax of where(all(x == -inf), 0, softmax(x)), which PyTorch makes of attention that it
/// takes apart: for a row that may attend nothing attention gives zeros itself.
const Node* safe_softmax(const Node& choice) {
  if (choice.op->name != "aten.where.self") return nullptr;
  const Node* softmax = call_of(choice.operand("other"), {"aten._softmax"});
  const Node* all = only_call_of(choice.operand("condition"), {"aten.all.dim"});
  const Node* equal = all != nullptr ? only_call_of(all->operands[0], {"aten.eq.Scalar"}) : nullptr;
  if (softmax == nullptr || equal == nullptr) return nullptr;
  const Value *x = softmax->operands[0], *weights = softmax->results[0];
  const bool zeros = uniform_value(choice.operand("self")) == 0.0;
  const bool rows = all->flag("keepdim") && is_last_dim(all->integer("dim"), x);
  const bool same = equal->operands[0] == x &&
                    scalar_of(*equal, "other") == -std::numeric_limits<double>::infinity();
  const bool unread = x->uses.size() == 2 && x->output_uses == 0 && weights->output_uses == 0 &&
                      std::all_of(weights->uses.begin(), weights->uses.end(), [&](const auto& use) {
                        return use.node == &choice || use.node == choice.operand("self")->producer;
                      });
  return zeros && rows && same && unread ? softmax : nullptr;
}

/// What of a softmax multiplies the values, down to the scores.
std::optional<Scores> scores_of(const Value* weights) {
  const Value* softmax = weights;
  const Node* call = only_call(softmax);
  bool cut = false;
  for (; call != nullptr; call = only_call(softmax)) {
    const bool cuts = !cut && is_without_last(softmax);
    if (!cuts && !keeps_rows(*call)) break;
    cut = cut || cuts;
    softmax = call->operands[0];
  }
  if (call == nullptr) return std::nullopt;
  const Node* safe = safe_softmax(*call);
  if (safe != nullptr) call = safe;
  const bool fits = call->op->name == "aten._softmax" && !(cut && safe != nullptr) &&
                    is_last_dim(call->integer("dim"), call->results[0]);
  if (!fits) return std::nullopt;
  const Value* logits = call->operands[0];
  if (cut) return scores_beside_sinks(unshifted(logits));
  return scores_below(logits, {}, safe != nullptr);
}

std::optional<Attention> attention_of(const Node& node) {
  if (!one_of(node.op->name, {"aten.matmul", "aten.bmm"})) return std::nullopt;
  const Value* weights = node.operands[0];
  std::optional<Scores> scores = scores_of(weights);
  if (!scores) return std::nullopt;

  const Node& product = *scores->product;
  const size_t first = product.op->name == "aten.baddbmm" ? 1 : 0;
  Value *q = product.operands[first], *k = product.operands[first + 1], *v = node.operands[1];
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
  Attention found{plain(q, v->dtype()),
                  plain(k, v->dtype()),
                  {node.operands[1], 1, {}},
                  *scores,
                  batch,
                  heads,
                  shared};
  found.scores.scale *= found.query.scale * found.turned_key.scale;
  if (found.scores.softcap) found.scores.scale *= *found.scores.softcap;
  const bool same = found.query.value->dtype() == v->dtype() &&
                    found.turned_key.value->dtype() == v->dtype() && is_floating(v->dtype());
  if (!same || !std::isfinite(found.scores.scale)) return std::nullopt;
  for (const Value* read : {found.query.value, found.turned_key.value, found.scores.mask,
                            found.scores.second, found.scores.sinks}) {
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
    Value* y = call(query, key, value, attention);
    const ir::ValueType& type = node_->results[0]->type;
    return y->type == type ? y : build_("aten.view", {y}, {{"size", type.shape}});
  }

 private:
  Value* call(Value* query, Value* key, Value* value, const Attention& attention) {
    const Scores& scores = attention.scores;
    Value* mask = mask_of(attention);
    if (!scores.softcap && scores.sinks == nullptr) {
      return build_("aten.scaled_dot_product_attention", {query, key, value, mask},
                    {{"scale", scores.scale}, {"enable_gqa", attention.shared}});
    }
    std::vector<ir::NamedAttribute> attributes{{"scale", scores.scale}};
    if (scores.softcap) attributes.emplace_back("softcap", *scores.softcap);
    return build_("attention", {query, key, value, mask, nullptr, scores.sinks}, attributes);
  }

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

  /// The mask with batch and heads apart.
  Value* raised(Value* mask, const Attention& attention) {
    const bool flat = mask != nullptr && mask == attention.scores.flat && mask->rank() == 3 &&
                      mask->shape()[0] == attention.batch * attention.heads;
    if (!flat || attention.batch.is(1)) return mask;
    const Shape& shape = mask->shape();
    const Shape apart{attention.batch, attention.heads, shape[1], shape[2]};
    return build_("aten.view", {mask}, {{"size", apart}});
  }

  Value* mask_of(const Attention& attention) {
    const Scores& scores = attention.scores;
    if (scores.second != nullptr) {
      return build_("aten.add.Tensor",
                    {raised(scores.mask, attention), raised(scores.second, attention)});
    }
    if (!scores.fill) return raised(scores.mask, attention);
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
