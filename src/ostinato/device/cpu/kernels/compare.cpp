#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ostinato/device/cpu/kernels/compare.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ostinato/device/cpu/kernels/assembly.h"
#include "ostinato/device/cpu/kernels/elementwise.h"
#include "ostinato/device/cpu/kernels/kernels.h"
#include "ostinato/device/cpu/kernels/rows-inl.h"

namespace ostinato::cpu {
namespace {

Params other_params(const ir::Node& node);

}  // namespace
}  // namespace ostinato::cpu

HWY_BEFORE_NAMESPACE();
namespace ostinato::cpu::HWY_NAMESPACE {

#define OSTINATO_PREDICATE(Name, vector_result, value_result)                          \
  struct Name {                                                                        \
    static HWY_INLINE VecF of(const Params&, VecF a, VecF b) { return vector_result; } \
    template <typename T>                                                              \
    static bool value(const Params&, T a, T b) {                                       \
      return value_result;                                                             \
    }                                                                                  \
  }
OSTINATO_PREDICATE(Equal, truth(hn::Eq(a, b)), a == b);
OSTINATO_PREDICATE(NotEqual, hn::IfThenElse(hn::Eq(a, b), zero(), set(1)), a != b);
OSTINATO_PREDICATE(Less, truth(hn::Lt(a, b)), a < b);
OSTINATO_PREDICATE(LessEqual, truth(hn::Le(a, b)), a <= b);
OSTINATO_PREDICATE(Greater, truth(hn::Gt(a, b)), a > b);
OSTINATO_PREDICATE(GreaterEqual, truth(hn::Ge(a, b)), a >= b);
#undef OSTINATO_PREDICATE

ElementwiseOps compare_ops() {
  static const ElementwiseOp ops[] = {
      {"aten.eq.Tensor", binary_rows<Equal, true, bool, int64_t>(), true, nullptr, Scalars::round},
      {"aten.ne.Tensor", binary_rows<NotEqual, true, bool, int64_t>(), true, nullptr,
       Scalars::round},
      {"aten.lt.Tensor", binary_rows<Less, true, int64_t>(), true, nullptr, Scalars::round},
      {"aten.le.Tensor", binary_rows<LessEqual, true, int64_t>(), true, nullptr, Scalars::round},
      {"aten.gt.Tensor", binary_rows<Greater, true, int64_t>(), true, nullptr, Scalars::round},
      {"aten.ge.Tensor", binary_rows<GreaterEqual, true, int64_t>(), true, nullptr, Scalars::round},
  };
  return ops;
}

ElementwiseOps compare_scalar_ops() {
  static const ElementwiseOp ops[] = {
      {"aten.eq.Scalar", unary_rows<Scalar<Equal>, true, int64_t>(), true, other_params,
       Scalars::round},
      {"aten.ne.Scalar", unary_rows<Scalar<NotEqual>, true, int64_t>(), true, other_params,
       Scalars::round},
      {"aten.lt.Scalar", unary_rows<Scalar<Less>, true, int64_t>(), true, other_params,
       Scalars::round},
      {"aten.le.Scalar", unary_rows<Scalar<LessEqual>, true, int64_t>(), true, other_params,
       Scalars::round},
      {"aten.gt.Scalar", unary_rows<Scalar<Greater>, true, int64_t>(), true, other_params,
       Scalars::round},
      {"aten.ge.Scalar", unary_rows<Scalar<GreaterEqual>, true, int64_t>(), true, other_params,
       Scalars::round},
  };
  return ops;
}

// Moves bits only, so any element of the same size will do. The compiler vectorises the loop.
template <typename T, Broadcast broadcast>
void select_row(const Params&, const void* const* inputs, void* output, int64_t count) {
  const bool* condition = static_cast<const bool*>(inputs[0]);
  const T* a = static_cast<const T*>(inputs[1]);
  const T* b = static_cast<const T*>(inputs[2]);
  T* y = static_cast<T*>(output);
  const T last = *b;
  for (int64_t i = 0; i < count; ++i) {
    const T left = a[i], right = broadcast == Broadcast::last ? last : b[i];
    y[i] = condition[i] ? left : right;
  }
}

// The value's bits where the mask is set.
template <typename T>
void fill_row(const Params& params, const void* const* inputs, void* output, int64_t count) {
  const bool* mask = static_cast<const bool*>(inputs[0]);
  const T* x = static_cast<const T*>(inputs[1]);
  T* y = static_cast<T*>(output);
  const T value = static_cast<T>(params.i);
  for (int64_t i = 0; i < count; ++i) {
    const T kept = x[i];
    y[i] = mask[i] ? value : kept;
  }
}

RowFunction fill_row_of(size_t element_size) {
  switch (element_size) {
    case 1: return fill_row<uint8_t>;
    case 2: return fill_row<uint16_t>;
    case 4: return fill_row<uint32_t>;
    default: return fill_row<uint64_t>;
  }
}

template <typename T>
std::array<RowFunction, 3> select() {
  return {select_row<T, Broadcast::none>, select_row<T, Broadcast::last>, nullptr};
}

std::array<RowFunction, 3> select_rows(size_t element_size) {
  switch (element_size) {
    case 1: return select<uint8_t>();
    case 2: return select<uint16_t>();
    case 4: return select<uint32_t>();
    default: return select<uint64_t>();
  }
}

}  // namespace ostinato::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ostinato::cpu {

HWY_EXPORT(compare_ops);
HWY_EXPORT(compare_scalar_ops);
HWY_EXPORT(fill_row_of);
HWY_EXPORT(select_rows);

namespace {

Params other_params(const ir::Node& node) { return scalar_params(node, "other"); }

std::unique_ptr<Kernel> make_compare(const device::Request& request) {
  const ElementwiseOps ops = HWY_DYNAMIC_DISPATCH(compare_ops)();
  return make_arithmetic(request, find_op(ops, request.node->op->name), {0, 1});
}

std::unique_ptr<Kernel> make_compare_scalar(const device::Request& request) {
  const ElementwiseOps ops = HWY_DYNAMIC_DISPATCH(compare_scalar_ops)();
  return make_arithmetic(request, find_op(ops, request.node->op->name), {0});
}

std::unique_ptr<Kernel> make_select(const device::Request& request, std::vector<size_t> operands) {
  const DType dtype = request.outputs[0].dtype;
  Elementwise spec;
  spec.operands = std::move(operands);
  spec.inputs = {DType::boolean, dtype, dtype};
  spec.output = dtype;
  spec.rows = HWY_DYNAMIC_DISPATCH(select_rows)(size_of(dtype));
  return make_elementwise(request, spec);
}

// where(condition, self, other)
std::unique_ptr<Kernel> make_where(const device::Request& request) {
  return make_select(request, {0, 1, 2});
}

// masked_fill(self, mask, value)
std::unique_ptr<Kernel> make_masked_fill(const device::Request& request) {
  return make_select(request, {1, 2, 0});
}

// masked_fill(self, mask, value), with the value an attribute
std::unique_ptr<Kernel> make_masked_fill_scalar(const device::Request& request) {
  const DType dtype = request.outputs[0].dtype;
  Elementwise spec;
  spec.operands = {1, 0};
  spec.inputs = {DType::boolean, dtype};
  spec.output = dtype;
  spec.rows[0] = HWY_DYNAMIC_DISPATCH(fill_row_of)(size_of(dtype));
  spec.params.i = static_cast<int64_t>(bits_of(request.node->attribute("value"), dtype));
  return make_elementwise(request, spec);
}

}  // namespace

void add_compare(KernelTable& table) {
  for (const ElementwiseOp& op : HWY_DYNAMIC_DISPATCH(compare_ops)()) {
    table.add(op.name, device::Tier::fast, make_compare);
  }
  for (const ElementwiseOp& op : HWY_DYNAMIC_DISPATCH(compare_scalar_ops)()) {
    table.add(op.name, device::Tier::fast, make_compare_scalar);
  }
  table.add("aten.where.self", device::Tier::fast, make_where);
  table.add("aten.masked_fill.Scalar", device::Tier::fast, make_masked_fill_scalar);
  table.add("aten.masked_fill.Tensor", device::Tier::fast, make_masked_fill);
}

}  // namespace ostinato::cpu
#endif  // HWY_ONCE
