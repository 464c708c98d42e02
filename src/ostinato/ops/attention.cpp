#include <cmath>
#include <limits>

#include "ostinato/ir/builder.h"
#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

namespace {

using ir::Dim;
using ir::Node;
using ir::Shape;
using ir::Value;
using ir::ValueType;

// What both operators check: query (..., Sq, D), key (..., Skv, D), value (..., Skv, Dv).
ValueType check_operands(const Node& node, const Value* mask, bool grouped) {
  const Value *query = node.operand("query"), *key = node.operand("key");
  const Value* value = node.operand("value");
  Value* const operands[] = {node.operand("query"), node.operand("key"), node.operand("value")};
  require_same_dtype(node, operands);
  require_floating(node, query);
  const size_t rank = query->rank();
  require_rank(node, key, rank);
  require_rank(node, value, rank);
  const Shape &q = query->shape(), &k = key->shape(), &v = value->shape();
  for (size_t i = 0; i + 2 < rank; ++i) {
    require_equal(node, fmt::format("dim {} of 'value'", i), k[i], v[i]);
    const bool heads = i + 3 == rank;
    if (!heads || !grouped) {
      require_equal(node, fmt::format("dim {} of 'key'", i), q[i], k[i]);
    } else if (q[i].is_constant() && k[i].is_constant() &&
               (k[i].is(0) || q[i].value() % k[i].value() != 0)) {
      reject(node, "Repeat the heads of 'key'.", "cannot share {} key heads among {} heads",
             k[i].str(), q[i].str());
    }
  }
  require_equal(node, "the last dim of 'key'", q[rank - 1], k[rank - 1]);
  require_equal(node, "the length of 'value'", k[rank - 2], v[rank - 2]);
  Shape scores = q;
  scores.back() = k[rank - 2];
  require_broadcastable(node, mask, scores);
  if (mask != nullptr && mask->dtype() != DType::boolean) require_floating(node, mask);
  Shape shape = q;
  shape.back() = v.back();
  return {query->dtype(), shape};
}

std::vector<ValueType> infer_attention(const Node& node) {
  require_rank(node, node.operand("query"), 4);
  if (const Value* position = node.operand("position")) {
    require_rank(node, position, 0);
    require_index(node, position);
  }
  if (node.has("window")) {
    if (!node.flag("causal")) {
      reject(node, "Set 'causal', or give the window as a mask.",
             "expected a window only with causal=true");
    }
    if (node.integer("window") < 1) {
      reject(node, "Leave it out for no window.", "expected a window of at least 1, got {}",
             node.integer("window"));
    }
  }
  if (const Value* sinks = node.operand("sinks")) {
    require_rank(node, sinks, 1);
    require_floating(node, sinks);
    require_equal(node, "the length of 'sinks'", node.operand("query")->shape()[1],
                  sinks->shape()[0]);
  }
  if (node.has("softcap") && !(node.real("softcap") > 0)) {
    reject(node, "Leave it out for none.", "expected a softcap above 0, got {}",
           node.real("softcap"));
  }
  return {check_operands(node, node.operand("mask"), true)};
}

std::vector<ValueType> infer_scaled_dot_product_attention(const Node& node) {
  const Value *query = node.operand("query"), *mask = node.operand("attn_mask");
  if (query->rank() != 3 && query->rank() != 4) {
    reject(node, "Give (B, H, S, D).", "expected 3 or 4 dims, got {}", to_string(query->shape()));
  }
  if (node.real("dropout_p") != 0) {
    reject(node, "Put the model into evaluation mode.", "expected no dropout, got {}",
           node.real("dropout_p"));
  }
  if (mask != nullptr && node.flag("is_causal")) {
    reject(node, "Put the causal mask into 'attn_mask'.",
           "expected either 'attn_mask' or is_causal=true, got both");
  }
  return {check_operands(node, mask, node.flag("enable_gqa"))};
}

struct Attention {
  Value *query, *key, *value;  // (B, H, Sq, D), (B, Hkv, Skv, D), (B, Hkv, Skv, Dv)
  Value* mask;                 // null for none
  Value* position;             // null for `offset`
  Dim offset;
  bool causal;
  std::optional<int64_t> window;
  ir::Attribute scale;  // None for 1 / sqrt(D)
  std::optional<double> softcap = std::nullopt;
  Value* sinks = nullptr;  // (H), null for none
};

Value* to_float32(ir::Builder& builder, Value* x) {
  if (x->dtype() == DType::float32) return x;
  return builder("aten._to_copy", {x}, {{"dtype", DType::float32}});
}

// (B, Hkv, S, D) -> (B * H, S, D), each head H / Hkv times.
Value* flat_heads(ir::Builder& builder, Value* x, const Dim& heads) {
  const Shape shape = x->shape();
  if (!(shape[1] == heads)) {
    x = builder("aten.unsqueeze", {x}, {{"dim", 2}});
    const Shape repeated{shape[0], shape[1], floor_div(heads, shape[1]), shape[2], shape[3]};
    x = builder("aten.expand", {x}, {{"size", repeated}});
  }
  const Shape flat{shape[0] * heads, shape[2], shape[3]};
  return builder("aten.reshape", {x}, {{"shape", flat}});
}

Value* forbid(ir::Builder& builder, Value* scores, Value* forbidden) {
  return builder("aten.masked_fill.Scalar", {scores, forbidden},
                 {{"value", -std::numeric_limits<double>::infinity()}});
}

Value* positions(ir::Builder& builder, const Dim& count) {
  return builder("aten.arange.start_step", {},
                 {{"start", 0}, {"end", count}, {"step", 1}, {"dtype", DType::int64}});
}

// scores (B, H, Sq, Skv) with -inf where a query may not attend
Value* mask_scores(ir::Builder& builder, const Attention& attention, Value* scores) {
  if (Value* mask = attention.mask) {
    scores = mask->dtype() == DType::boolean
                 ? forbid(builder, scores, builder("aten.logical_not", {mask}))
                 : builder("aten.add.Tensor", {scores, to_float32(builder, mask)});
  }
  if (!attention.causal) return scores;
  Value* row = positions(builder, scores->shape()[2]);
  Value* column = positions(builder, scores->shape()[3]);
  Value* last = builder("aten.unsqueeze", {row}, {{"dim", -1}});
  last = attention.position != nullptr
             ? builder("aten.add.Tensor", {last, attention.position})
             : builder("aten.add.Scalar", {last}, {{"other", attention.offset}});
  scores = forbid(builder, scores, builder("aten.gt.Tensor", {column, last}));
  if (attention.window) {
    Value* before = builder("aten.sub.Scalar", {last}, {{"other", *attention.window}});
    scores = forbid(builder, scores, builder("aten.le.Tensor", {column, before}));
  }
  return scores;
}

// softcap · tanh(scores / softcap)
Value* capped(ir::Builder& builder, Value* scores, double softcap) {
  Value* bent = builder("aten.tanh", {builder("aten.div.Scalar", {scores}, {{"other", softcap}})});
  return builder("aten.mul.Scalar", {bent}, {{"other", softcap}});
}

// The softmax over the last dim, beside a logit of each head that leads to no key.
Value* softmax_with_sinks(ir::Builder& builder, Value* scores, Value* sinks) {
  Shape shape = scores->shape();
  const Dim columns = shape[3];
  shape[3] = 1;
  sinks = builder("aten.view", {to_float32(builder, sinks)}, {{"size", Shape{1, shape[1], 1, 1}}});
  sinks = builder("aten.expand", {sinks}, {{"size", shape}});
  Value* all = builder("aten.cat", {scores, sinks}, {{"dim", -1}});
  all = builder("aten._softmax", {all}, {{"dim", -1}, {"half_to_float", false}});
  return builder("aten.slice.Tensor", {all}, {{"dim", -1}, {"start", 0}, {"end", columns}});
}

// All in fp32, rounded once. A row that may attend nothing gives zeros.
Value* expand(ir::Builder& builder, const Attention& attention) {
  const Shape query = attention.query->shape();
  const Dim& heads = query[1];
  const Dim columns = attention.key->shape()[2];
  Value* q = flat_heads(builder, to_float32(builder, attention.query), heads);
  Value* k = flat_heads(builder, to_float32(builder, attention.key), heads);
  Value* v = flat_heads(builder, to_float32(builder, attention.value), heads);
  ir::Attribute scale = attention.scale;
  if (std::holds_alternative<std::monostate>(scale)) {
    scale = 1.0 / std::sqrt(static_cast<double>(query[3].value()));
  }
  k = builder("aten.permute", {k}, {{"dims", Shape{0, 2, 1}}});
  Value* scores = builder("aten.mul.Scalar", {builder("aten.bmm", {q, k})}, {{"other", scale}});
  scores = builder("aten.view", {scores}, {{"size", Shape{query[0], heads, query[2], columns}}});
  if (attention.softcap) scores = capped(builder, scores, *attention.softcap);
  Value* masked = mask_scores(builder, attention, scores);
  Value* weights = attention.sinks != nullptr ? softmax_with_sinks(builder, masked, attention.sinks)
                                              : builder("aten._softmax", {masked},
                                                        {{"dim", -1}, {"half_to_float", false}});
  if (masked != scores && !columns.is(0)) {
    Value* best = builder("aten.amax", {masked}, {{"dim", Shape{-1}}, {"keepdim", true}});
    Value* nothing =
        builder("aten.eq.Scalar", {best}, {{"other", -std::numeric_limits<double>::infinity()}});
    weights = builder("aten.masked_fill.Scalar", {weights, nothing}, {{"value", 0.0}});
  }
  weights = builder("aten.view", {weights}, {{"size", Shape{query[0] * heads, query[2], columns}}});
  Value* y = builder("aten.bmm", {weights, v});
  const Shape shape{query[0], heads, query[2], attention.value->shape()[3]};
  y = builder("aten.view", {y}, {{"size", shape}});
  const DType dtype = attention.query->dtype();
  return dtype == DType::float32 ? y : builder("aten._to_copy", {y}, {{"dtype", dtype}});
}

std::vector<Value*> expand_attention(ir::Builder& builder, const Node& node) {
  std::optional<int64_t> window;
  if (node.has("window")) window = node.integer("window");
  std::optional<double> softcap;
  if (node.has("softcap")) softcap = node.real("softcap");
  return {expand(builder, {.query = node.operand("query"),
                           .key = node.operand("key"),
                           .value = node.operand("value"),
                           .mask = node.operand("mask"),
                           .position = node.operand("position"),
                           .offset = node.dim("offset"),
                           .causal = node.flag("causal"),
                           .window = window,
                           .scale = node.attribute("scale"),
                           .softcap = softcap,
                           .sinks = node.operand("sinks")})};
}

std::vector<Value*> expand_scaled_dot_product_attention(ir::Builder& builder, const Node& node) {
  // A batch of single heads (B, S, D) is one batch of B heads, and a mask fits that as it is.
  const bool flat = node.operand("query")->rank() == 3;
  const auto batched = [&](std::string_view name) {
    Value* x = node.operand(name);
    return flat ? builder("aten.unsqueeze", {x}, {{"dim", 0}}) : x;
  };
  Value* y = expand(builder, {.query = batched("query"),
                              .key = batched("key"),
                              .value = batched("value"),
                              .mask = node.operand("attn_mask"),
                              .position = nullptr,
                              .offset = 0,
                              .causal = node.flag("is_causal"),
                              .window = std::nullopt,
                              .scale = node.attribute("scale")});
  return {flat ? builder("aten.squeeze.dim", {y}, {{"dim", 0}}) : y};
}

}  // namespace

void add_attention(ir::OpTable& table) {
  using enum ir::AttrKind;
  using enum ir::OperandKind;
  const ir::AttrSpec scale{"scale", real, ir::Attribute{}};
  // What a query attends depends on no other query.
  const ir::OpTraits traits{.in_place = {{0, 0}}, .strided = true};
  table.add({.name = "attention",
             .operands = {{"query"},
                          {"key"},
                          {"value"},
                          {"mask", optional},
                          {"position", optional},
                          {"sinks", optional}},
             .attributes = {scale,
                            {"causal", boolean, false},
                            {"offset", integer, Dim(0)},
                            {"window", integer, ir::Attribute{}},
                            {"softcap", real, ir::Attribute{}}},
             .infer = infer_attention,
             .traits = traits,
             .expand = expand_attention});
  table.add({.name = "aten.scaled_dot_product_attention",
             .operands = {{"query"}, {"key"}, {"value"}, {"attn_mask", optional}},
             .attributes = {{"dropout_p", real, 0.0},
                            {"is_causal", boolean, false},
                            scale,
                            {"enable_gqa", boolean, false}},
             .infer = infer_scaled_dot_product_attention,
             .traits = traits,
             .expand = expand_scaled_dot_product_attention});
}

}  // namespace ostinato::ops
