#pragma once

#include <array>
#include <optional>
#include <span>

#include "ostinato/device/cpu/kernel.h"

/// What the elementwise kernels share: a loop over rows that knows strides, broadcasting and
/// conversions, around row functions that know none of it.
namespace ostinato::cpu {

/// The attributes that a row function needs, for either of the dtypes it may compute in.
struct Params {
  float a = 0, b = 0, c = 0;
  int64_t i = 0, j = 0;
  bool real = false;  ///< a scalar is real: integers compute as floats
};

/// The scalar attribute of that name as `a` and `i`.
Params scalar_params(const ir::Node& node, std::string_view name);

/// Computes `count` adjacent elements.
using RowFunction = void (*)(const Params& params, const void* const* inputs, void* output,
                             int64_t count);

/// Which inputs of a row function hold a single element that serves the whole row.
enum class Broadcast : uint8_t { none, last, first };

/// The row functions of an operator by the dtype it computes in and by broadcasting. Null where
/// there is none: then it computes in float32 or int64, or the single element is spread out first.
struct RowFunctions {
  static constexpr size_t kDTypes = 7;
  std::array<std::array<RowFunction, 3>, kDTypes> by_dtype{};

  std::array<RowFunction, 3>& of(DType dtype) { return by_dtype[static_cast<size_t>(dtype)]; }
  const std::array<RowFunction, 3>& of(DType dtype) const {
    return by_dtype[static_cast<size_t>(dtype)];
  }
};

/// Whether a scalar (an attribute, or a tensor without dims beside one with dims) is rounded to the
/// dtype that the others have before an operator computes, as PyTorch does for some.
enum class Scalars { keep, round };

/// One operator with up to three operands.
struct ElementwiseOp {
  std::string_view name;
  RowFunctions rows;
  bool predicate = false;  ///< the rows' result is a bool, else of the dtype computed in
  Params (*params)(const ir::Node& node) = nullptr;
  Scalars scalars = Scalars::keep;
  bool divides = false;  ///< an integer zero as the last operand, or as `i`, is a fault
};

using ElementwiseOps = std::span<const ElementwiseOp>;

/// How a kernel computes: every operand is converted to `inputs[k]` before, and the result from
/// `output` after, wherever they differ from what the request has.
struct Elementwise {
  static constexpr size_t kMaxInputs = 3;

  std::vector<size_t> operands;  ///< of the request, in the row function's order
  std::vector<DType> inputs;
  std::optional<DType> rounded;  ///< operands of other dtypes are converted to this one before
  DType output = DType::float32;
  std::array<RowFunction, 3> rows{};
  Params params;
  bool divides = false;  ///< as of the operator, where it computes in int64
};

/// A row function and what it is called with.
struct RowCall {
  RowFunction function;
  const Params* params;
  std::array<size_t, Elementwise::kMaxInputs> operands;  ///< of the request, in its order
};

/// The kernel of one elementwise call, which can also compute adjacent elements that its caller
/// chooses.
class RowKernel : public Kernel {
 public:
  /// All that `run_row` does, where it calls the row function on the operands as they are.
  virtual std::optional<RowCall> row_call() const = 0;

  /// @param operands where the first elements lie, in the request's order; the strides are the
  /// request's along its only dim
  virtual void run_row(const Args& args, const void* const* operands, void* output,
                       int64_t count) const = 0;
};

/// Null when the layouts need more dims than a walk has.
std::unique_ptr<Kernel> make_elementwise(const device::Request& request, const Elementwise& spec);

/// The same for these operands with the usual choice of dtype: what PyTorch computes in if there is
/// a row function for it, else float32 or int64.
std::unique_ptr<Kernel> make_arithmetic(const device::Request& request, const ElementwiseOp& op,
                                        const std::vector<size_t>& operands);

/// The operator of that name, which must be among them.
const ElementwiseOp& find_op(ElementwiseOps ops, std::string_view name);

}  // namespace ostinato::cpu
