#include "ostinato/passes/index_function.h"

#include <algorithm>
#include <cmath>

#include "ostinato/ops/slice.h"
#include "ostinato/passes/match.h"
#include "ostinato/passes/rewrite.h"

namespace ostinato::passes {

namespace {

using ir::Dim;
using ir::Node;
using ir::Shape;
using ir::Value;

using Steps = std::vector<Dim>;

std::optional<Affine> constant_function(double value, size_t rank) {
  if (value != std::floor(value) || std::abs(value) > 0x1p53) return std::nullopt;
  return Affine{Dim(static_cast<int64_t>(value)), Steps(rank)};
}

Affine operator*(const Dim& factor, Affine f) {
  f.constant = f.constant * factor;
  for (Dim& step : f.steps) step = step * factor;
  return f;
}

/// Of values that broadcast to that rank: dims are aligned at the end.
Affine sum(const Affine& a, const Affine& b, size_t rank) {
  Affine result{a.constant + b.constant, Steps(rank)};
  for (const Affine* part : {&a, &b}) {
    const size_t missing = rank - part->steps.size();
    for (size_t d = 0; d < part->steps.size(); ++d) {
      result.steps[missing + d] = result.steps[missing + d] + part->steps[d];
    }
  }
  return result;
}

bool is_constant(const Affine& f) {
  return std::all_of(f.steps.begin(), f.steps.end(), [](const Dim& step) { return step.is(0); });
}

/// Its value where it is the same integer everywhere.
std::optional<int64_t> integer_of(const Affine& f) {
  if (!is_constant(f) || !f.constant.is_constant()) return std::nullopt;
  return f.constant.value();
}

bool is_never_negative(const Affine& f) {
  const auto known = [](const Dim& dim) { return dim.is_constant() && dim.value() >= 0; };
  return known(f.constant) && std::all_of(f.steps.begin(), f.steps.end(), known);
}

bool is_index(DType dtype) { return dtype == DType::int64 || dtype == DType::int32; }

// Views, and copies: the result's function from the operand's.

/// Dims of size one come and go.
std::optional<Affine> reshaped(const Affine& f, const Shape& from, const Shape& to) {
  Affine result{f.constant, Steps(to.size())};
  size_t d = 0;
  for (size_t i = 0; i < to.size(); ++i) {
    if (to[i].is(1)) continue;
    while (d < from.size() && from[d].is(1)) ++d;
    if (d == from.size() || from[d] != to[i]) return std::nullopt;
    result.steps[i] = f.steps[d++];
  }
  const auto rest = from.begin() + static_cast<std::ptrdiff_t>(d);
  const bool all = std::all_of(rest, from.end(), [](const Dim& size) { return size.is(1); });
  return all ? std::optional(result) : std::nullopt;
}

Affine expanded(const Affine& f, size_t rank) {
  return sum(f, Affine{Dim(0), {}}, rank);  // the step of a size of one is zero
}

Affine permuted(const Affine& f, const std::vector<size_t>& order) {
  Affine result{f.constant, {}};
  for (const size_t dim : order) result.steps.push_back(f.steps[dim]);
  return result;
}

Affine sliced(Affine f, const ops::Slice& slice) {
  f.constant = f.constant + slice.start * f.steps[slice.dim];
  f.steps[slice.dim] = f.steps[slice.dim] * Dim(slice.step);
  return f;
}

Affine selected(Affine f, const Node& node) {
  const auto rank = static_cast<int64_t>(node.operands[0]->rank());
  const int64_t given = node.integer("dim");
  const auto dim = static_cast<size_t>(given < 0 ? given + rank : given);
  const Dim position = ops::wrap_position(node, node.dim("index"), node.operands[0]->shape()[dim]);
  f.constant = f.constant + position * f.steps[dim];
  f.steps.erase(f.steps.begin() + static_cast<std::ptrdiff_t>(dim));
  return f;
}

/// Through a call that shows its operand's elements elsewhere.
std::optional<Affine> moved(const Affine& f, const Node& node) {
  const std::string_view name = node.op->name;
  const Shape &from = node.operands[0]->shape(), &to = node.results[0]->shape();
  if (one_of(name, {"aten.view", "aten._unsafe_view", "aten.reshape", "aten.unsqueeze",
                    "aten.squeeze", "aten.squeeze.dim", "aten.squeeze.dims"})) {
    return reshaped(f, from, to);
  }
  if (one_of(name, {"aten.clone", "aten.alias", "aten.detach"})) return f;
  if (name == "aten.expand") return expanded(f, to.size());
  if (const auto order = permutation_of(node)) return permuted(f, *order);
  if (name == "aten.slice.Tensor") return sliced(f, ops::slice_of(node, from));
  if (name == "aten.select.int") return selected(f, node);
  return std::nullopt;
}

void drop_steps_of_ones(Affine& f, const Shape& shape) {
  for (size_t d = 0; d < shape.size(); ++d) {
    if (shape[d].is(1)) f.steps[d] = 0;
  }
}

// Integers.

std::optional<Affine> arange(const Node& node) {
  const auto integer = [&node](std::string_view name, int64_t otherwise) -> std::optional<Dim> {
    for (const ir::AttrSpec& spec : node.op->attributes) {
      if (spec.name != name) continue;
      const Dim* dim = std::get_if<Dim>(&node.attribute(name));
      return dim != nullptr ? std::optional(*dim) : std::nullopt;
    }
    return Dim(otherwise);
  };
  const std::optional<Dim> start = integer("start", 0), step = integer("step", 1);
  if (!start || !step) return std::nullopt;
  Affine f{*start, {}};
  f.steps.push_back(*step);
  return f;
}

// Truth.

Conditions where(bool truth, size_t rank) {
  return truth ? Conditions{} : Conditions{{Dim(-1), Steps(rank)}};
}

/// f ≥ 0, decided where it can be.
Conditions at_least_zero(Affine f) {
  const std::optional<int64_t> value = integer_of(f);
  if (value) return where(*value >= 0, f.steps.size());
  if (is_never_negative(f)) return {};
  return {std::move(f)};
}

bool is_never(const Conditions& conditions) {
  return std::any_of(conditions.begin(), conditions.end(), [](const Affine& f) {
    const std::optional<int64_t> value = integer_of(f);
    return value && *value < 0;
  });
}

/// The functions of an operand, as they are of a result it broadcasts to.
Conditions broadcast(Conditions conditions, size_t rank) {
  for (Affine& f : conditions) f = expanded(f, rank);
  return conditions;
}

}  // namespace

IndexFunctions::IndexFunctions(const ir::Graph& graph)
    : affine_(graph.value_count()), conditions_(graph.value_count()) {
  for (const auto& node : graph.nodes()) {
    const Value* value = node->results.front();
    if (node->results.size() != 1 || shares_state(value)) continue;
    const auto id = static_cast<size_t>(value->id);
    if (is_index(value->dtype())) {
      affine_[id] = affine_result(*node);
      if (affine_[id]) drop_steps_of_ones(*affine_[id], value->shape());
    } else if (value->dtype() == DType::boolean) {
      conditions_[id] = true_results(*node);
      if (!conditions_[id]) continue;
      for (Affine& f : *conditions_[id]) drop_steps_of_ones(f, value->shape());
    }
  }
}

std::optional<Affine> IndexFunctions::affine(const Value* value) const {
  if (!is_index(value->dtype())) return std::nullopt;
  if (const std::optional<double> same = uniform_value(value)) {
    return constant_function(*same, value->rank());
  }
  return value->kind == ir::ValueKind::result ? affine_[static_cast<size_t>(value->id)]
                                              : std::nullopt;
}

std::optional<Conditions> IndexFunctions::conditions(const Value* value) const {
  if (value->dtype() != DType::boolean) return std::nullopt;
  if (const std::optional<double> same = uniform_value(value)) {
    return where(*same != 0, value->rank());
  }
  return value->kind == ir::ValueKind::result ? conditions_[static_cast<size_t>(value->id)]
                                              : std::nullopt;
}

std::optional<Affine> IndexFunctions::arithmetic(const Node& node) const {
  const std::string_view name = node.op->name;
  const std::optional<Affine> self = affine(node.operands[0]);
  if (!self) return std::nullopt;
  const size_t rank = node.results[0]->rank();
  if (name == "aten.neg") return Dim(-1) * *self;
  if (one_of(name, {"aten.add.Tensor", "aten.sub.Tensor"})) {
    const std::optional<Affine> other = affine(node.operands[1]);
    const Dim* alpha = std::get_if<Dim>(&node.attribute("alpha"));
    if (!other || alpha == nullptr) return std::nullopt;
    return sum(*self, (name == "aten.add.Tensor" ? *alpha : Dim(0) - *alpha) * *other, rank);
  }
  const Dim* other = std::get_if<Dim>(&node.attribute("other"));
  if (other == nullptr) return std::nullopt;
  if (name == "aten.mul.Scalar") return *other * *self;
  const Dim* alpha = std::get_if<Dim>(&node.attribute("alpha"));
  if (alpha == nullptr) return std::nullopt;
  const Dim addend = *alpha * *other;
  return sum(*self, {name == "aten.add.Scalar" ? addend : Dim(0) - addend, {}}, rank);
}

/// Parts of one function.
std::optional<Affine> IndexFunctions::concatenated(const Node& node) const {
  const int64_t given = node.integer("dim");
  const auto rank = static_cast<int64_t>(node.results[0]->rank());
  const auto dim = static_cast<size_t>(given < 0 ? given + rank : given);
  std::vector<Affine> parts;
  for (const Value* operand : node.list()) {
    const std::optional<Affine> part = affine(operand);
    if (!part || part->steps.size() != static_cast<size_t>(rank)) return std::nullopt;
    parts.push_back(*part);
  }
  Dim step = 0, offset = 0;  // a part of one element along the dim has any step
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!node.list()[i]->shape()[dim].is(1)) step = parts[i].steps[dim];
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    const Dim& size = node.list()[i]->shape()[dim];
    if (size.is(1)) parts[i].steps[dim] = step;
    parts[i].constant = parts[i].constant - step * offset;
    const bool same = parts[i].constant == parts[0].constant && parts[i].steps == parts[0].steps;
    if (!same) return std::nullopt;
    offset = offset + size;
  }
  return parts[0];
}

/// x[i, j, …] with an index for each dim of x.
std::optional<Affine> IndexFunctions::indexed(const Node& node) const {
  const std::optional<Affine> x = affine(node.operands[0]);
  const std::span<Value* const> indices = node.list();
  if (!x || indices.size() != x->steps.size()) return std::nullopt;
  const size_t rank = node.results[0]->rank();
  Affine result{x->constant, Steps(rank)};
  for (size_t d = 0; d < indices.size(); ++d) {
    if (indices[d] == nullptr || indices[d]->dtype() == DType::boolean) return std::nullopt;
    const std::optional<Affine> index = affine(indices[d]);
    if (!index || !is_never_negative(*index)) return std::nullopt;
    result = sum(result, x->steps[d] * *index, rank);
  }
  return result;
}

/// Integers of another type, of truths that are known, or sums of zeros.
std::optional<Affine> IndexFunctions::converted(const Node& node) const {
  const Value* operand = node.operands[0];
  std::optional<Affine> f = affine(operand);
  if (const auto where = f ? std::nullopt : conditions(operand)) {
    if (where->empty()) f = constant_function(1, operand->rank());
    if (is_never(*where)) f = constant_function(0, operand->rank());
  }
  const bool sums = node.op->name == "aten.cumsum";
  return f && (!sums || integer_of(*f) == 0) ? f : std::nullopt;
}

std::optional<Affine> IndexFunctions::affine_result(const Node& node) const {
  const std::string_view name = node.op->name;
  if (name.starts_with("aten.arange")) return arange(node);
  if (one_of(name, {"aten.add.Tensor", "aten.sub.Tensor", "aten.add.Scalar", "aten.sub.Scalar",
                    "aten.mul.Scalar", "aten.neg"})) {
    return arithmetic(node);
  }
  if (name == "aten.cat") return concatenated(node);
  if (name == "aten.index.Tensor") return indexed(node);
  if (node.operands.empty() || node.operands[0] == nullptr) return std::nullopt;
  if (one_of(name, {"aten._to_copy", "aten.cumsum"})) return converted(node);
  const std::optional<Affine> f = affine(node.operands[0]);
  return f ? moved(*f, node) : std::nullopt;
}

std::optional<Conditions> IndexFunctions::comparison(const Node& node) const {
  const std::string_view name = node.op->name;
  const size_t rank = node.results[0]->rank();
  const std::optional<Affine> self = affine(node.operands[0]);
  std::optional<Affine> other;
  if (node.operands.size() > 1) {
    other = affine(node.operands[1]);
  } else if (const Dim* scalar = std::get_if<Dim>(&node.attribute("other"))) {
    other = Affine{*scalar, {}};
  }
  if (!self || !other) return std::nullopt;
  const std::string_view kind = name.substr(5, 2);
  const Affine above = sum(*other, Dim(-1) * *self, rank);  // other - self
  const Affine below = Dim(-1) * above;
  const auto shifted = [](Affine f) {
    f.constant = f.constant - Dim(1);
    return f;
  };
  if (kind == "le") return at_least_zero(above);
  if (kind == "lt") return at_least_zero(shifted(above));
  if (kind == "ge") return at_least_zero(below);
  if (kind == "gt") return at_least_zero(shifted(below));
  const std::optional<int64_t> difference = integer_of(above);
  if (difference) return where((*difference == 0) == (kind == "eq"), rank);
  return std::nullopt;
}

std::optional<Conditions> IndexFunctions::connective(const Node& node) const {
  const std::string_view name = node.op->name;
  const size_t rank = node.results[0]->rank();
  std::optional<Conditions> a = conditions(node.operands[0]);
  if (one_of(name, {"aten.logical_not", "aten.bitwise_not"})) {
    if (!a || a->size() > 1) return std::nullopt;
    if (a->empty()) return where(false, rank);
    Affine opposite = Dim(-1) * a->front();
    opposite.constant = opposite.constant - Dim(1);
    return at_least_zero(opposite);
  }
  std::optional<Conditions> b = conditions(node.operands[1]);
  if (!a || !b) return std::nullopt;
  *a = broadcast(*a, rank);
  *b = broadcast(*b, rank);
  if (one_of(name, {"aten.bitwise_and.Tensor", "aten.logical_and"})) {
    a->insert(a->end(), b->begin(), b->end());
    return a;
  }
  if (a->empty() || is_never(*b)) return a;
  if (b->empty() || is_never(*a)) return b;
  return std::nullopt;
}

/// The lower or upper triangle of what is true everywhere.
std::optional<Conditions> IndexFunctions::triangle(const Node& node) const {
  const std::optional<Conditions> all = conditions(node.operands[0]);
  const Dim* diagonal = std::get_if<Dim>(&node.attribute("diagonal"));
  if (!all || diagonal == nullptr) return std::nullopt;
  const Shape& shape = node.results[0]->shape();
  Affine below{*diagonal, Steps(shape.size())};  // row - column + diagonal
  below.steps[shape.size() - 2] = 1;
  below.steps[shape.size() - 1] = -1;
  Conditions result = *all;
  const Affine f = node.op->name == "aten.tril" ? below : Dim(-1) * below;
  result.push_back(f);
  return result;
}

std::optional<Conditions> IndexFunctions::true_results(const Node& node) const {
  const std::string_view name = node.op->name;
  if (one_of(name.substr(0, 8),
             {"aten.le.", "aten.lt.", "aten.ge.", "aten.gt.", "aten.eq.", "aten.ne."})) {
    return comparison(node);
  }
  if (one_of(name, {"aten.bitwise_and.Tensor", "aten.logical_and", "aten.bitwise_or.Tensor",
                    "aten.logical_or", "aten.logical_not", "aten.bitwise_not"})) {
    return connective(node);
  }
  if (one_of(name, {"aten.tril", "aten.triu"})) return triangle(node);
  if (node.operands.empty() || node.operands[0] == nullptr) return std::nullopt;
  std::optional<Conditions> found = conditions(node.operands[0]);
  if (!found) return std::nullopt;
  const bool same_type = node.operands[0]->dtype() == DType::boolean;
  if (name == "aten._to_copy" && same_type) return found;
  for (Affine& f : *found) {
    const std::optional<Affine> result = moved(f, node);
    if (!result) return std::nullopt;
    f = *result;
  }
  // A call that is no view makes new truths even where the operand's are all the same.
  const bool shows = node.op->traits.view || one_of(name, {"aten.clone", "aten.expand"});
  return shows ? found : std::nullopt;
}

}  // namespace ostinato::passes
