#include "support/random_chains.h"

#include <cmath>
#include <limits>

#include "ostinato/base/error.h"
#include "ostinato/ir/builder.h"
#include "support/random.h"

namespace ostinato {

namespace {

using ir::Dim;
using ir::Graph;
using ir::Node;
using ir::Shape;
using ir::Value;

constexpr int64_t kEnd = std::numeric_limits<int64_t>::max();

class Chains {
 public:
  Chains(const ir::OpTable& table, uint32_t seed, DType dtype)
      : random_(seed), spelling_(~seed), dtype_(dtype), build_(graph_, table) {}

  Graph run() {
    graph_.name = "chains";
    const bool symbolic = random_.chance(40);
    const Dim first = random_(1, 2), second = random_(1, 5);
    batch_ = symbolic && random_.chance(50) ? Dim::symbol("s0") : first;
    length_ = symbolic ? Dim::symbol("s1") : second;
    heads_ = random_(1, 2) * 2;
    head_ = random_(1, 4) * 4;
    width_ = heads_ * head_;
    Value* x = graph_.add_input("x", {dtype_, {batch_, length_, width_}});
    for (int64_t count = random_(1, 4); count > 0; --count) x = block(x);
    graph_.add_output("y", spelling_.chance(40) ? row(x) : x);
    for (size_t i = 0; i < read_.size(); ++i) {
      graph_.add_output(fmt::format("between.{}", i), read_[i]);
    }
    return std::move(graph_);
  }

 private:
  /// (batch, length, width) from the same.
  Value* block(Value* x) {
    switch (random_(0, 6)) {
      case 0: return norm(x);
      case 1: return residual(x, mlp(x));
      case 2: return residual(x, gated(norm(x)));
      case 3: return residual(x, attention(norm(x)));
      case 4: return attention(x);
      case 5: return norm(residual(x, linear(x, width_)));
      default: return elementwise(x);
    }
  }

  /// What a classifier of the first token reads, or a head of the last one's.
  Value* row(Value* x) {
    switch (spelling_(0, 3)) {
      case 0: return build_("aten.select.int", {x}, {{"dim", 1}, {"index", 0}});
      case 1: return build_("aten.select.int", {x}, {{"dim", -2}, {"index", -1}});
      case 2: return build_("aten.slice.Tensor", {x}, {{"dim", 1}, {"start", -1}, {"end", kEnd}});
      default: {
        Tensor first = Tensor::empty(DType::int64, {1});
        *first.as<int64_t>() = 0;
        return build_("aten.index_select", {x, build_.constant(first)}, {{"dim", 1}});
      }
    }
  }

  // Calls.

  /// Now and then something else: what a fusion has to notice.
  bool odd() { return random_.chance(4); }
  /// One of the spellings.
  bool either() { return random_.chance(50); }
  /// Now and then an output too.
  Value* seen(Value* value) {
    if (odd()) read_.push_back(value);
    return value;
  }

  Value* mul(Value* a, Value* b) {
    return seen(either() ? build_("aten.mul.Tensor", {a, b}) : build_("aten.mul.Tensor", {b, a}));
  }
  Value* mul(Value* a, double b) { return seen(build_("aten.mul.Scalar", {a}, {{"other", b}})); }
  Value* add(Value* a, Value* b) {
    return seen(either() ? build_("aten.add.Tensor", {a, b}) : build_("aten.add.Tensor", {b, a}));
  }
  Value* add(Value* a, double b) { return seen(build_("aten.add.Scalar", {a}, {{"other", b}})); }
  Value* sub(Value* a, Value* b) { return seen(build_("aten.sub.Tensor", {a, b})); }
  Value* div(Value* a, Value* b) { return seen(build_("aten.div.Tensor", {a, b})); }
  Value* unary(std::string_view op, Value* a) { return seen(build_(op, {a})); }
  Value* cast(Value* a, DType dtype) { return build_("aten._to_copy", {a}, {{"dtype", dtype}}); }
  // No draw may depend on a dtype.
  Value* in(DType dtype, Value* a) { return a->dtype() == dtype ? a : cast(a, dtype); }
  Value* back(Value* a) { return in(dtype_, a); }
  Value* square(Value* a) {
    return either() ? mul(a, a)
                    : seen(build_("aten.pow.Tensor_Scalar", {a}, {{"exponent", Dim(2)}}));
  }
  Value* mean(Value* a) {
    const Dim dim = odd() ? Dim(-2) : either() ? Dim(-1) : Dim(int64_t(a->rank()) - 1);
    return seen(build_("aten.mean.dim", {a}, {{"dim", Shape{dim}}, {"keepdim", true}}));
  }
  Value* transpose(Value* a, int64_t dim0, int64_t dim1) {
    return build_("aten.transpose.int", {a}, {{"dim0", Dim(dim0)}, {"dim1", Dim(dim1)}});
  }
  Value* view(Value* a, const Shape& shape) {
    const bool turned = a->producer != nullptr && a->producer->op->traits.view;
    return either() || turned ? build_("aten.reshape", {a}, {{"shape", shape}})
                              : build_("aten.view", {a}, {{"size", shape}});
  }
  Value* slice(Value* a, int64_t start, int64_t end, int64_t step = 1) {
    const Dim last = a->shape().back();
    if (last.is(end) && either()) end = kEnd;
    return seen(build_("aten.slice.Tensor", {a},
                       {{"dim", Dim(either() ? -1 : int64_t(a->rank()) - 1)},
                        {"start", Dim(start)},
                        {"end", Dim(end)},
                        {"step", Dim(step)}}));
  }
  Value* cat(Value* a, Value* b) { return seen(build_("aten.cat", {a, b}, {{"dim", Dim(-1)}})); }
  Value* unsqueeze(Value* a, int64_t dim) {
    return build_("aten.unsqueeze", {a}, {{"dim", Dim(dim)}});
  }

  /// Of about the size that keeps what it multiplies as large as it was.
  Value* weight(const std::vector<int64_t>& shape) {
    const double fan = shape.size() > 1 ? static_cast<double>(shape.back()) : 1;
    const auto scale = static_cast<float>(std::exp2(-std::ceil(std::log2(fan) / 2)));
    return build_.constant(random_tensor(random_, dtype_, shape, scale),
                           fmt::format("weight.{}", graph_.value_count()));
  }

  // Blocks.

  Value* residual(Value* x, Value* y) { return add(x, y); }

  Value* norm(Value* x) {
    const bool layer = random_.chance(30);
    if (random_.chance(15)) return made_norm(x, layer);
    Value* h = either() ? cast(x, DType::float32) : x;
    if (layer) h = sub(h, mean(h));
    const double eps = odd() ? 0.25 : 1e-5;
    Value* spread = add(mean(square(h)), eps);
    if (either()) {
      h = mul(h, unary("aten.rsqrt", spread));
    } else if (either()) {
      h = div(h, unary("aten.sqrt", spread));
    } else {
      h = mul(h, unary("aten.reciprocal", unary("aten.sqrt", spread)));
    }
    if (either()) h = back(h);
    const int64_t all = width_.value();
    if (random_.chance(80)) {
      Value* factor = weight(odd() ? std::vector<int64_t>{1} : std::vector<int64_t>{all});
      factor = in(h->dtype(), factor);
      if (either() && !layer) factor = add(factor, 1.0);
      h = mul(h, factor);
    }
    if (layer && random_.chance(80)) h = add(h, weight({all}));
    return back(h);
  }

  Value* made_norm(Value* x, bool layer) {
    const int64_t all = width_.value();
    Value* factor = either() ? weight({all}) : nullptr;
    if (!layer) return build_("rms_norm", {x, factor}, {{"eps", 1e-6}});
    return build_("aten.native_layer_norm", {x, factor, either() ? weight({all}) : nullptr},
                  {{"normalized_shape", Shape{width_}}, {"eps", 1e-6}});
  }

  Value* linear(Value* x, const Dim& out) {
    Value* bias = either() ? weight({out.value()}) : nullptr;
    if (either()) return seen(build_("aten.linear", {x, weight({out.value(), width_of(x)}), bias}));
    if (bias != nullptr && either()) {  // as GPT-2 has it
      Shape shape = x->shape();
      Value* flat = view(x, {batch_ * length_, shape.back()});
      Value* turned = either() ? weight({width_of(x), out.value()})
                               : build_("aten.t", {weight({out.value(), width_of(x)})});
      shape.back() = out;
      return view(build_("aten.addmm", {bias, flat, turned}), shape);
    }
    Value* turned = build_("aten.t", {weight({out.value(), width_of(x)})});
    Value* y = seen(build_("aten.matmul", {x, turned}));
    return bias != nullptr ? add(y, bias) : y;
  }

  static int64_t width_of(const Value* x) { return x->shape().back().value(); }

  Value* sigmoid(Value* x) {
    if (either()) return unary("aten.sigmoid", x);
    return unary("aten.reciprocal", add(unary("aten.exp", unary("aten.neg", x)), 1.0));
  }

  Value* activation(Value* x) {
    if (spelling_.chance(10)) return mul(x, sigmoid(mul(x, odd() ? 1.7 : 1.702)));
    switch (random_(0, 5)) {
      case 0: return unary("aten.relu", x);
      case 1: return unary("aten.silu", x);
      case 2: return mul(x, sigmoid(x));
      case 3: return seen(build_("aten.gelu", {x}, {{"approximate", either() ? "tanh" : "none"}}));
      case 4: {
        const double root = odd() ? 1.5 : std::sqrt(2.0);
        Value* y =
            either() ? seen(build_("aten.div.Scalar", {x}, {{"other", root}})) : mul(x, 1 / root);
        y = add(unary("aten.erf", y), 1.0);
        return either() ? mul(mul(x, 0.5), y) : mul(mul(x, y), 0.5);
      }
      default: {
        Value* cube = either() ? mul(mul(x, x), x)
                               : build_("aten.pow.Tensor_Scalar", {x}, {{"exponent", 3.0}});
        Value* inner = mul(add(x, mul(cube, odd() ? 0.05 : 0.044715)), std::sqrt(2 / M_PI));
        return mul(mul(x, 0.5), add(unary("aten.tanh", inner), 1.0));
      }
    }
  }

  Value* mlp(Value* x) { return linear(activation(linear(x, width_ * 2)), width_); }

  Value* gated(Value* x) {
    const int64_t inner = random_(1, 3) * 8;
    Value *gate, *up;
    if (either()) {
      gate = linear(x, inner);
      up = linear(x, inner);
    } else {
      Value* both = linear(x, 2 * inner);
      gate = slice(both, 0, inner);
      up = slice(both, inner, 2 * inner);
      if (either()) std::swap(gate, up);
    }
    return linear(mul(activation(gate), odd() ? gate : up), width_);
  }

  /// (batch, heads, length, head) of (batch, length, heads · head).
  Value* with_heads(Value* x, const Dim& heads) {
    return transpose(view(x, {batch_, length_, heads, head_}), 1, 2);
  }

  Value* turned(Value* x) {
    const int64_t all = width_of(x), half = all / 2;
    if (interleaved_) {
      Value* even = slice(x, 0, all, 2);
      Value* other = unary("aten.neg", slice(x, 1, all, 2));
      if (odd()) std::swap(even, other);
      Value* pairs = build_("aten.stack", {other, even}, {{"dim", Dim(-1)}});
      return view(pairs, x->shape());
    }
    Value *first = slice(x, 0, half), *second = slice(x, half, all);
    if (spelling_.chance(30)) {
      Shape halves = x->shape();
      halves.back() = 2;
      halves.emplace_back(half);
      const ir::Node* parts = build_.call("aten.unbind.int", {view(x, halves)}, {{"dim", Dim(-2)}});
      first = parts->results[0];
      second = parts->results[1];
    }
    if (odd()) std::swap(first, second);
    return cat(unary("aten.neg", second), first);
  }

  Value* rotary(Value* x) {
    if (cos_ == nullptr) {
      interleaved_ = random_.chance(30);
      rotated_ = random_.chance(25) ? head_.value() / 2 : head_.value();
      still_ = length_.is_constant() && length_.value() > 1 && spelling_.chance(25) ? 1 : 0;
      const Dim count = length_ - still_;
      const Shape shape = either() ? Shape{count, rotated_} : Shape{1, 1, count, rotated_};
      const DType dtype = spelling_.chance(30) ? DType::float32 : dtype_;
      cos_ = graph_.add_input("cos", {dtype, shape});
      sin_ = graph_.add_input("sin", {dtype, shape});
    }
    if (still_ == 0) return rotated(x);
    Value* passed = rows(x, 0, still_);
    return seen(build_("aten.cat", {passed, rotated(rows(x, still_, kEnd))}, {{"dim", Dim(2)}}));
  }

  /// Some rows of (batch, heads, length, head).
  Value* rows(Value* x, int64_t start, int64_t end) {
    return build_("aten.slice.Tensor", {x},
                  {{"dim", Dim(2)}, {"start", Dim(start)}, {"end", Dim(end)}, {"step", Dim(1)}});
  }

  Value* rotated(Value* x) {
    const bool partial = rotated_ != width_of(x);
    Value* part = in(cos_->dtype(), partial ? slice(x, 0, rotated_) : x);
    Value* y = add(mul(part, cos_), mul(turned(part), odd() ? cos_ : sin_));
    y = back(y);
    return partial ? cat(y, slice(x, rotated_, width_of(x))) : y;
  }

  /// (batch, heads, length, head) of fewer heads.
  Value* repeated(Value* x, int64_t times) {
    const Shape& shape = x->shape();
    Value* wide = unsqueeze(x, 2);
    wide = build_("aten.expand", {wide},
                  {{"size", Shape{shape[0], shape[1], times, shape[2], shape[3]}}});
    return build_("aten.reshape", {wide},
                  {{"shape", Shape{shape[0], shape[1] * times, shape[2], shape[3]}}});
  }

  Value* softmax(Value* scores) {
    const DType dtype = scores->dtype();
    if (either()) scores = cast(scores, DType::float32);
    const Dim dim = odd() ? Dim(-2) : Dim(-1);
    if (random_.chance(75)) {
      scores = seen(build_("aten._softmax", {scores}, {{"dim", dim}}));
    } else {
      Value* top = build_("aten.amax", {scores}, {{"dim", Shape{dim}}, {"keepdim", true}});
      Value* powers = unary("aten.exp", sub(scores, top));
      scores = div(powers, build_("aten.sum.dim_IntList", {powers},
                                  {{"dim", Shape{dim}}, {"keepdim", true}}));
    }
    return in(dtype, scores);
  }

  Value* masked(Value* scores) {
    const Shape shape = either() ? Shape{length_, length_} : Shape{batch_, 1, length_, length_};
    const std::string name = fmt::format("mask.{}", graph_.value_count());
    switch (random_(0, 3)) {
      case 0: return scores;
      case 1: return add(scores, graph_.add_input(name, {scores->dtype(), shape}));
      case 2:
        return seen(build_("aten.masked_fill.Scalar",
                           {scores, graph_.add_input(name, {DType::boolean, shape})},
                           {{"value", odd() ? -1.0 : -30000.0}}));
      default: {
        Value* filler =
            build_("aten.scalar_tensor", {}, {{"s", -30000.0}, {"dtype", scores->dtype()}});
        Value* mask = graph_.add_input(name, {DType::boolean, shape});
        return seen(build_("aten.where.self", {mask, scores, filler}));
      }
    }
  }

  Value* attention(Value* x) {
    const int64_t groups = either() ? 1 : 2;  // query heads for each of the keys'
    const Dim key_heads = heads_.value() / groups;
    Value* q = with_heads(linear(x, width_), heads_);
    Value* k = with_heads(linear(x, key_heads * head_), key_heads);
    Value* v = with_heads(linear(x, key_heads * head_), key_heads);
    if (either()) {
      q = rotary(q);
      k = rotary(k);
    }
    if (groups > 1) {
      k = repeated(k, groups);
      v = repeated(v, groups);
    }
    const double scale = 1 / std::sqrt(static_cast<double>(head_.value()));
    Value* y;
    if (random_.chance(15)) {
      const bool causal = either();
      y = build_("aten.scaled_dot_product_attention", {q, k, v, nullptr}, {{"is_causal", causal}});
    } else {
      const int where = static_cast<int>(random_(0, 2));
      if (where == 0) q = mul(q, scale);
      if (where == 1) k = mul(k, scale);
      Value* scores = seen(build_("aten.matmul", {q, transpose(k, 2, 3)}));
      if (where == 2) scores = mul(scores, scale);
      if (random_.chance(10)) scores = mul(unary("aten.tanh", mul(scores, 1 / 8.0)), 8.0);
      scores = masked(scores);
      if (random_.chance(20)) scores = masked(scores);
      y = seen(build_("aten.matmul", {softmax(scores), v}));
    }
    y = view(transpose(y, 1, 2), {batch_, length_, width_});
    return linear(y, width_);
  }

  /// Nothing in it jumps, so that a rounding stays one.
  Value* elementwise(Value* x) {
    std::vector<Value*> made = {x};
    for (int64_t count = random_(1, 8); count > 0; --count) {
      Value* a = random_.pick(made);
      switch (random_(0, 9)) {
        case 0: a = unary("aten.sigmoid", a); break;
        case 1: a = unary("aten.tanh", a); break;
        case 2: a = unary("aten.abs", a); break;
        case 3: a = unary("aten.relu", a); break;
        case 4: a = mul(a, 0.5); break;
        case 5: a = back(cast(a, random_.pick<DType>({DType::float32, dtype_}))); break;
        case 6: a = add(a, weight({width_.value()})); break;
        case 7: a = mul(a, unary("aten.cos", random_.pick(made))); break;
        case 8: a = sub(a, mean(a)); break;
        default: a = add(a, random_.pick(made));
      }
      made.push_back(a);
    }
    return made.back();
  }

  Random random_, spelling_;  // the latter: of what was added later
  DType dtype_;
  Graph graph_;
  ir::Builder build_;
  Dim batch_, length_, heads_, head_, width_;
  Value *cos_ = nullptr, *sin_ = nullptr;
  int64_t rotated_ = 0, still_ = 0;
  bool interleaved_ = false;
  std::vector<Value*> read_;
};

}  // namespace

Graph random_chains(const ir::OpTable& table, uint32_t seed, DType dtype) {
  return Chains(table, seed, dtype).run();
}

}  // namespace ostinato
