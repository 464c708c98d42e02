#pragma once

#include <span>
#include <string>

#include "ostinato/base/error.h"
#include "ostinato/ir/graph.h"

/// What the shape and dtype rules share.
namespace ostinato::ops {

/// Throws `invalid_argument` with the stage `ops/NAME`.
template <typename... Args>
[[noreturn]] void reject(const ir::Node& node, std::string_view hint,
                         fmt::format_string<Args...> message, Args&&... args) {
  fail(ErrorCode::invalid_argument, fmt::format("ops/{}", node.op->name), hint, message,
       std::forward<Args>(args)...);
}

/// A dim counted from the end when negative, as an index into a shape of that rank (a scalar counts
/// as rank 1); throws when out of range.
size_t wrap_dim(const ir::Node& node, int64_t dim, size_t rank);

/// The same for each of several dims, of which none may come twice.
std::vector<size_t> wrap_dims(const ir::Node& node, std::span<const int64_t> dims, size_t rank);

/// Throws when the sizes cannot be equal. Sizes that only bindings can tell apart pass: the rule
/// runs again once they are integers.
void require_equal(const ir::Node& node, std::string_view what, const ir::Dim& expected,
                   const ir::Dim& got);

/// Throws when the operands' dtypes differ; None is skipped.
void require_same_dtype(const ir::Node& node, std::span<ir::Value* const> operands);

/// Throws unless the operand is of an integer dtype that can index.
void require_index(const ir::Node& node, const ir::Value* operand);

/// The common shape of operands by NumPy's rules. A symbol is taken to be other than one.
ir::Shape broadcast(const ir::Node& node, std::span<ir::Value* const> operands);
ir::Shape broadcast(const ir::Node& node, ir::Shape a, const ir::Shape& b);

/// The dtype that PyTorch computes and returns for these operands and this scalar (None: no
/// scalar): a tensor with dims wins over one without, which wins over a scalar, unless the latter
/// is of a higher category (bool < integer < floating).
DType promote(std::span<ir::Value* const> operands, const ir::Attribute& scalar = {});

/// Throws unless the operand has a floating dtype.
void require_floating(const ir::Node& node, const ir::Value* operand);

/// Throws unless the operand has that many dims.
void require_rank(const ir::Node& node, const ir::Value* operand, size_t rank);

/// Throws unless the operand's shape broadcasts to `shape`; None passes.
void require_broadcastable(const ir::Node& node, const ir::Value* operand, const ir::Shape& shape);

/// The type of the first operand: the rule of most unary operators.
std::vector<ir::ValueType> infer_same(const ir::Node& node);

}  // namespace ostinato::ops
