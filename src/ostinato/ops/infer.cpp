#include "ostinato/ops/infer.h"

#include <algorithm>

namespace ostinato::ops {

using ir::Dim;
using ir::Node;
using ir::Shape;
using ir::Value;

size_t wrap_dim(const Node& node, int64_t dim, size_t rank) {
  const int64_t limit = static_cast<int64_t>(std::max<size_t>(rank, 1));
  if (dim < -limit || dim >= limit) {
    reject(node, "Count dims from 0, or from -1 at the end.", "expected a dim in [{}, {}], got {}",
           -limit, limit - 1, dim);
  }
  return static_cast<size_t>(dim < 0 ? dim + limit : dim);
}

std::vector<size_t> wrap_dims(const Node& node, std::span<const int64_t> dims, size_t rank) {
  std::vector<size_t> wrapped;
  for (int64_t dim : dims) {
    wrapped.push_back(wrap_dim(node, dim, rank));
    if (std::count(wrapped.begin(), wrapped.end(), wrapped.back()) > 1) {
      reject(node, "Name every dim once.", "expected distinct dims, got [{}]",
             fmt::join(dims, ", "));
    }
  }
  return wrapped;
}

void require_equal(const Node& node, std::string_view what, const Dim& expected, const Dim& got) {
  const Dim difference = expected - got;
  if (!difference.is_constant() || difference.is(0)) return;
  reject(node, "Check the operands' shapes.", "expected {} to be {}, got {}", what, expected.str(),
         got.str());
}

void require_same_dtype(const Node& node, std::span<Value* const> operands) {
  const Value* first = nullptr;
  for (const Value* operand : operands) {
    if (operand == nullptr) continue;
    if (first == nullptr) first = operand;
    if (operand->dtype() != first->dtype()) {
      reject(node, "Convert one of them with aten._to_copy.",
             "expected operands of one dtype, got {} and {}", name_of(first->dtype()),
             name_of(operand->dtype()));
    }
  }
}

void require_index(const Node& node, const Value* operand) {
  if (operand->dtype() == DType::int64 || operand->dtype() == DType::int32) return;
  reject(node, "Convert the indices with aten._to_copy.", "expected int64 or int32 indices, got {}",
         name_of(operand->dtype()));
}

Shape broadcast(const Node& node, Shape a, const Shape& b) {
  if (b.size() > a.size()) a.insert(a.begin(), b.size() - a.size(), Dim(1));
  const size_t skip = a.size() - b.size();
  for (size_t i = 0; i < b.size(); ++i) {
    Dim& size = a[skip + i];
    if (b[i] == size || b[i].is(1)) continue;
    if (!size.is(1)) {
      reject(node, "Sizes must be equal or one.", "cannot broadcast {} to {}", to_string(b),
             to_string(a));
    }
    size = b[i];
  }
  return a;
}

Shape broadcast(const Node& node, std::span<Value* const> operands) {
  Shape result;
  for (const Value* operand : operands) {
    if (operand != nullptr) result = broadcast(node, std::move(result), operand->shape());
  }
  return result;
}

namespace {

enum class Category { none, boolean, integer, floating };

Category category_of(DType dtype) {
  if (is_floating(dtype)) return Category::floating;
  return dtype == DType::boolean ? Category::boolean : Category::integer;
}

DType promote_pair(DType a, DType b) {
  if (a == b) return a;
  if (category_of(a) != category_of(b)) return category_of(a) > category_of(b) ? a : b;
  if (category_of(a) == Category::floating) return DType::float32;  // bfloat16 with float16 too
  return size_of(a) > size_of(b) ? a : b;
}

}  // namespace

DType promote(std::span<Value* const> operands, const ir::Attribute& scalar) {
  // As c10's result_type: the best dtype of each priority, then the higher category wins.
  std::optional<DType> with_dims, without_dims, from_scalar;
  for (const Value* operand : operands) {
    if (operand == nullptr) continue;
    auto& best = operand->rank() > 0 ? with_dims : without_dims;
    best = best ? promote_pair(*best, operand->dtype()) : operand->dtype();
  }
  if (std::holds_alternative<bool>(scalar)) from_scalar = DType::boolean;
  if (std::holds_alternative<Dim>(scalar)) from_scalar = DType::int64;
  if (std::holds_alternative<double>(scalar)) from_scalar = DType::float32;
  std::optional<DType> result;
  for (const auto& candidate : {with_dims, without_dims, from_scalar}) {
    if (!candidate) continue;
    if (!result || category_of(*candidate) > category_of(*result)) result = candidate;
  }
  return result.value_or(DType::float32);
}

void require_floating(const Node& node, const Value* operand) {
  if (is_floating(operand->dtype())) return;
  reject(node, "Convert it with aten._to_copy.", "expected a floating dtype, got {}",
         name_of(operand->dtype()));
}

void require_rank(const Node& node, const Value* operand, size_t rank) {
  if (operand->rank() == rank) return;
  reject(node, "Check the operands' shapes.", "expected {} dims, got {}", rank,
         to_string(operand->shape()));
}

void require_broadcastable(const Node& node, const Value* operand, const Shape& shape) {
  if (operand == nullptr) return;
  const Shape& own = operand->shape();
  bool fits = own.size() <= shape.size();
  for (size_t i = 0; fits && i < own.size(); ++i) {
    const Dim difference = own[own.size() - 1 - i] - shape[shape.size() - 1 - i];
    fits = own[own.size() - 1 - i].is(1) || !difference.is_constant() || difference.is(0);
  }
  if (fits) return;
  reject(node, "Sizes must be equal or one.", "cannot broadcast {} to {}", to_string(own),
         to_string(shape));
}

std::vector<ir::ValueType> infer_same(const Node& node) { return {node.operands[0]->type}; }

}  // namespace ostinato::ops
