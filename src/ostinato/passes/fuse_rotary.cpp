#include "ostinato/ops/infer.h"
#include "ostinato/passes/match.h"
#include "ostinato/passes/pass.h"
#include "ostinato/passes/rewrite.h"

// Rotary position embedding (Su et al. 2021) of x = (a, b), halves or neighbours:
// x · cos + (-b, a) · sin, or (a · cos - b · sin, b · cos + a · sin) with tables of half the size.
namespace ostinato::passes {

namespace {

using ir::Dim;
using ir::Node;
using ir::Shape;
using ir::Value;

/// Two values, as halves of the last dim or as neighbours in it.
struct Two {
  Value *first, *second;
  bool interleaved;
};

/// x of x[..., None].
Value* raised(const Value* value) {
  const Node* node = call_of(value, {"aten.unsqueeze", "aten.view", "aten.reshape"});
  if (node == nullptr) return nullptr;
  Value* x = node->operands[0];
  Shape shape = x->shape();
  shape.emplace_back(1);
  return shape == value->shape() ? x : nullptr;
}

/// Of a concatenation along the last dim.
std::optional<Two> two_halves(const Value* value) {
  const Node* node = call_of(value, {"aten.cat"});
  if (node == nullptr || node->list().size() != 2) return std::nullopt;
  if (!is_last_dim(node->integer("dim"), value)) return std::nullopt;
  return Two{node->list()[0], node->list()[1], false};
}

/// Of a stack along a new last dim that is joined with the one before.
std::optional<Two> two_neighbours(const Value* value) {
  const Node* joined = reshape_of(value);
  if (joined == nullptr || value->rank() == 0) return std::nullopt;
  const Value* pairs = joined->operands[0];
  Shape shape = value->shape();
  if (!shape.back().is_constant() || shape.back().value() % 2 != 0) return std::nullopt;
  shape.back() = floor_div(shape.back(), 2);
  shape.emplace_back(2);
  if (pairs->shape() != shape) return std::nullopt;
  if (const Node* stack = call_of(pairs, {"aten.stack"})) {
    const bool fits = stack->list().size() == 2 && is_last_dim(stack->integer("dim"), pairs);
    return fits ? std::optional(Two{stack->list()[0], stack->list()[1], true}) : std::nullopt;
  }
  const std::optional<Two> columns = two_halves(pairs);
  Value* first = columns ? raised(columns->first) : nullptr;
  Value* second = columns ? raised(columns->second) : nullptr;
  if (first == nullptr || second == nullptr) return std::nullopt;
  return Two{first, second, true};
}

std::optional<Two> two_parts(const Value* value) {
  const std::optional<Two> halves = two_halves(value);
  return halves ? halves : two_neighbours(value);
}

/// x of x[..., start : start + length · step : step].
Value* sliced(const Value* value, const Dim& start, const Dim& length, int64_t step = 1) {
  const std::optional<Part> part = part_of_last_dim(value);
  const bool same = part && part->start == start && part->length == length && part->step == step;
  return same ? part->whole : nullptr;
}

/// x of its two parts.
Value* whole_of(const Value* a, const Value* b, bool interleaved) {
  if (a->rank() == 0 || a->shape() != b->shape()) return nullptr;
  const Dim& half = a->shape().back();
  Value* x = interleaved ? sliced(a, 0, half, 2) : sliced(a, 0, half);
  if (x == nullptr || x != (interleaved ? sliced(b, 1, half, 2) : sliced(b, half, half))) {
    return nullptr;
  }
  const Dim& all = x->shape().back();
  return half.is_constant() && all == half + half ? x : nullptr;
}

/// Of (-b, a).
struct Turn {
  Value* x;
  bool interleaved;
};

std::optional<Turn> turned(const Value* value) {
  const std::optional<Two> parts = two_parts(value);
  const Node* negated = parts ? call_of(parts->first, {"aten.neg"}) : nullptr;
  if (negated == nullptr) return std::nullopt;
  Value* x = whole_of(parts->second, negated->operands[0], parts->interleaved);
  if (x == nullptr || x->shape() != value->shape()) return std::nullopt;
  return Turn{x, parts->interleaved};
}

/// Whether `cos` or `sin` gives each of the last dim's elements a factor of its own.
bool is_table(const Value* table, const Value* x) {
  return table->rank() > 0 && table->rank() <= x->rank() && is_floating(table->dtype()) &&
         table->shape().back() == x->shape().back();
}

/// In place of the call, with the dtype of its result.
Value* rotary(ir::Graph& graph, const Node* node, const std::vector<Value*>& operands,
              bool interleaved) {
  std::vector<ir::NamedAttribute> attributes{{"interleaved", interleaved}};
  const DType dtype = node->results[0]->dtype();
  if (dtype != ops::promote(operands)) attributes.emplace_back("dtype", dtype);
  return builder_before(graph, node)("rotary", operands, attributes);
}

bool is_half(DType dtype) { return dtype == DType::bfloat16 || dtype == DType::float16; }

Value* fuse_turn(ir::Graph& graph, const Node* node) {
  if (!is_plain_sum(*node)) return nullptr;
  for (const size_t side : {size_t{0}, size_t{1}}) {
    const Node* straight = only_call_of(node->operands[side], {"aten.mul.Tensor"});
    const Node* crossed = only_call_of(node->operands[1 - side], {"aten.mul.Tensor"});
    if (straight == nullptr || crossed == nullptr) return nullptr;
    for (const size_t factor : {size_t{0}, size_t{1}}) {
      const std::optional<Turn> turn = turned(crossed->operands[factor]);
      if (!turn) continue;
      Value *x = turn->x, *sin = crossed->operands[1 - factor];
      Value* cos = other_factor(*straight, x);
      if (cos == nullptr || !is_table(cos, x) || !is_table(sin, x)) continue;
      if (x->type != node->results[0]->type) continue;
      return rotary(graph, node, {x, cos, sin}, turn->interleaved);
    }
  }
  return nullptr;
}

/// The factors of u · v ± w · z, where nothing else reads the products.
struct Products {
  const Node *first, *second;
};

std::optional<Products> products_of(const Value* value, std::string_view op) {
  const Node* node = only_call_of(value, {op});
  if (node == nullptr || scalar_of(*node, "alpha") != 1.0) return std::nullopt;
  const Node* first = only_call_of(node->operands[0], {"aten.mul.Tensor"});
  const Node* second = only_call_of(node->operands[1], {"aten.mul.Tensor"});
  if (first == nullptr || second == nullptr) return std::nullopt;
  return Products{first, second};
}

/// The table for all elements, of one for half of them.
Value* doubled(ir::Builder& build, Value* table, bool interleaved) {
  if (!interleaved) return build("aten.cat", {table, table}, {{"dim", -1}});
  Shape shape = table->shape();
  shape.emplace_back(2);
  Value* pairs = build("aten.unsqueeze", {table}, {{"dim", -1}});
  pairs = build("aten.expand", {pairs}, {{"size", shape}});
  shape.pop_back();
  shape.back() = shape.back() * 2;
  return build("aten.reshape", {pairs}, {{"shape", shape}});
}

/// (a · cos - b · sin, b · cos + a · sin)
Value* fuse_parts(ir::Graph& graph, const Node* node) {
  if (node->results.size() != 1) return nullptr;
  const Value* result = node->results[0];
  const std::optional<Two> parts = two_parts(result);
  const auto minus = parts ? products_of(parts->first, "aten.sub.Tensor") : std::nullopt;
  const auto plus = parts ? products_of(parts->second, "aten.add.Tensor") : std::nullopt;
  if (!minus || !plus) return nullptr;
  for (const size_t side : {size_t{0}, size_t{1}}) {
    Value *a = minus->first->operands[side], *cos = minus->first->operands[1 - side];
    for (const size_t other : {size_t{0}, size_t{1}}) {
      Value *b = minus->second->operands[other], *sin = minus->second->operands[1 - other];
      const auto are = [&](const Node* p, const Node* q) {
        return other_factor(*p, b) == cos && other_factor(*q, a) == sin;
      };
      if (!are(plus->first, plus->second) && !are(plus->second, plus->first)) continue;
      Value* x = whole_of(a, b, parts->interleaved);
      const bool fits = x != nullptr && x->type == result->type && cos->dtype() == x->dtype() &&
                        sin->dtype() == x->dtype() && is_table(cos, a) && is_table(sin, a);
      if (!fits) continue;
      ir::Builder build = builder_before(graph, node);
      return rotary(
          graph, node,
          {x, doubled(build, cos, parts->interleaved), doubled(build, sin, parts->interleaved)},
          parts->interleaved);
    }
  }
  return nullptr;
}

/// The first elements are rotated, the others pass.
Value* fuse_rest(ir::Graph& graph, const Node* node) {
  const auto parts = node->op->name == "aten.cat" ? two_halves(node->results[0]) : std::nullopt;
  const Node* rotated = parts ? only_call_of(parts->first, {"rotary"}) : nullptr;
  if (rotated == nullptr) return nullptr;
  const Dim &size = parts->first->shape().back(), &all = node->results[0]->shape().back();
  Value* x = sliced(rotated->operands[0], 0, size);
  if (x == nullptr || x != sliced(parts->second, size, all - size)) return nullptr;
  return rotary(graph, node, {x, rotated->operands[1], rotated->operands[2]},
                rotated->flag("interleaved"));
}

/// With rows before or behind the table's that turn nothing: finite elements pass by 1 and 0 as
/// they are. Null where the table has no row for each of those that are turned.
Value* with_still_rows(ir::Builder& build, Value* table, double still, size_t from_end,
                       const Part& turned, const Part& passed) {
  if (table->rank() < from_end) return nullptr;
  const size_t dim = table->rank() - from_end;
  if (table->shape()[dim] != turned.length) return nullptr;
  Shape shape = table->shape();
  shape[dim] = passed.length;
  Value* rows =
      build("aten.full", {}, {{"size", shape}, {"fill_value", still}, {"dtype", table->dtype()}});
  const bool behind = turned.start.is(0);
  return build("aten.cat", {behind ? table : rows, behind ? rows : table},
               {{"dim", static_cast<int64_t>(dim)}});
}

/// Some rows are rotated, those before or behind them pass.
Value* fuse_other_rows(ir::Graph& graph, const Node* node) {
  if (node->op->name != "aten.cat" || node->list().size() != 2) return nullptr;
  const size_t rank = node->results[0]->rank();
  if (rank < 2) return nullptr;  // where all is of shape (0), any dim will do
  const size_t dim = ops::wrap_dim(*node, node->integer("dim"), rank);
  if (dim + 1 == rank) return nullptr;
  for (const size_t at : {size_t{0}, size_t{1}}) {
    const Node* rotated = only_call_of(node->list()[at], {"rotary"});
    const auto turned = rotated ? part_of_dim(rotated->operands[0], dim) : std::nullopt;
    const auto passed = turned ? part_of_dim(node->list()[1 - at], dim) : std::nullopt;
    if (!passed || turned->whole != passed->whole) continue;
    const Part &first = at == 0 ? *turned : *passed, &second = at == 0 ? *passed : *turned;
    const bool whole = first.step == 1 && second.step == 1 && first.start.is(0) &&
                       second.start == first.length &&
                       first.length + second.length == turned->whole->shape()[dim];
    if (!whole) continue;
    ir::Builder build = builder_before(graph, node);
    Value* cos = with_still_rows(build, rotated->operands[1], 1, rank - dim, *turned, *passed);
    Value* sin = with_still_rows(build, rotated->operands[2], 0, rank - dim, *turned, *passed);
    if (cos == nullptr || sin == nullptr) continue;
    return rotary(graph, node, {turned->whole, cos, sin}, rotated->flag("interleaved"));
  }
  return nullptr;
}

/// Of what was cast to the tables' float32: the operator computes in that itself.
Value* fuse_cast(ir::Graph& graph, const Node* node) {
  if (node->op->name != "rotary") return nullptr;
  const Value *x = node->operands[0], *cos = node->operands[1], *sin = node->operands[2];
  const Node* cast = call_of(x, {"aten._to_copy"});
  const bool wide = x->dtype() == DType::float32 && cos->dtype() == DType::float32 &&
                    sin->dtype() == DType::float32;
  if (cast == nullptr || !wide) return nullptr;
  Value* narrow = cast->operands[0];
  if (!is_half(narrow->dtype())) return nullptr;
  return rotary(graph, node, {narrow, node->operands[1], node->operands[2]},
                node->flag("interleaved"));
}

/// Of what is cast back from the tables' float32: the operator rounds to that itself.
Value* fuse_rounding(ir::Graph& graph, const Node* node) {
  if (node->op->name != "aten._to_copy") return nullptr;
  const Node* wide = only_call_of(node->operands[0], {"rotary"});
  if (wide == nullptr || wide->results[0]->dtype() != DType::float32) return nullptr;
  const DType dtype = node->results[0]->dtype();
  if (!is_half(dtype) || wide->operands[0]->dtype() != dtype) return nullptr;
  return rotary(graph, node, wide->operands, wide->flag("interleaved"));
}

}  // namespace

bool fuse_rotary(ir::Graph& graph, const PassContext&) {
  return fuse_calls(graph,
                    {fuse_turn, fuse_parts, fuse_rest, fuse_other_rows, fuse_cast, fuse_rounding});
}

}  // namespace ostinato::passes
