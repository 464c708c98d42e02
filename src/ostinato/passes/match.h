#pragma once

#include <initializer_list>
#include <optional>
#include <string_view>

#include "ostinato/ir/graph.h"

/// What the fusing passes ask of values. Each answers with null or nullopt for "no".
namespace ostinato::passes {

/// The call that makes the value, if it is of one of these operators.
const ir::Node* call_of(const ir::Value* value, std::initializer_list<std::string_view> operators);

/// The same, if nothing but one operand of one call reads the value either.
const ir::Node* only_call_of(const ir::Value* value,
                             std::initializer_list<std::string_view> operators);

/// Whether nothing but one operand of one call reads the value.
bool is_read_once(const ir::Value* value);

/// The call that makes the value, if it is of one of those that only give it other sizes.
const ir::Node* reshape_of(const ir::Value* value);

/// Whether a dim, which may be counted from the end, is the value's last one.
bool is_last_dim(int64_t dim, const ir::Value* value);

/// Whether the call is `a + b` of two tensors, neither of them scaled.
bool is_plain_sum(const ir::Node& node);

/// The other factor of a product of two tensors, one of which is `factor`.
ir::Value* other_factor(const ir::Node& product, const ir::Value* factor);

/// `value + scalar`, as `aten.add.Scalar` or with a uniform constant.
struct Shifted {
  ir::Value* value;
  double scalar;
};
std::optional<Shifted> shifted(const ir::Value* sum);

/// `value · factor`, by a scalar or a uniform constant, or divided by 1 / factor.
struct Scaled {
  ir::Value* value;
  double factor;
};
std::optional<Scaled> scaled(const ir::Node& product);

/// v of x / √v, however that is written, x being the operand `side` of the call.
const ir::Value* under_root(const ir::Node& node, size_t side);

/// Whether the two are equal as far as float32 and models' constants go.
bool is_close(double number, double expected);

/// What is squared: by `aten.pow.Tensor_Scalar` or as a product with itself.
ir::Value* squared(const ir::Value* square);

/// Whether the call's attribute `dim` names the last dim, and no other.
bool is_over_last_dim(const ir::Node& node);

/// Some elements of a dim of another value, as a slice or a split shows them.
struct Part {
  ir::Value* whole;
  ir::Dim start, length;
  int64_t step;
};
std::optional<Part> part_of_dim(const ir::Value* value, size_t dim);

/// Of the last dim; or as an unbinding of its view as (..., n, part) shows them.
std::optional<Part> part_of_last_dim(const ir::Value* value);

/// A cast's operand, if it has that dtype.
ir::Value* cast_from(const ir::Value* cast, DType dtype);

/// The number that all elements are, as a call fills it in or a small constant has it: before it
/// is rounded to the dtype.
std::optional<double> number(const ir::Value* value);

}  // namespace ostinato::passes
