#include "ostinato/device/cpu/kernels/epilogue.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ostinato/device/cpu/kernels/epilogue.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <array>

#include "ostinato/device/cpu/kernels/math-inl.h"
#include "ostinato/device/cpu/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ostinato::cpu::HWY_NAMESPACE {

template <Activation activation>
HWY_INLINE VecF activate(VecF x) {
  switch (activation) {
    case Activation::none: return x;
    case Activation::relu: return hn::IfThenElse(hn::Lt(x, zero()), zero(), x);  // keeps NaN
    case Activation::gelu: return gelu_erf(x);
    case Activation::gelu_tanh: return gelu_tanh(x);
    case Activation::quick_gelu: return quick_gelu(x);
    case Activation::silu: return silu(x);
  }
}

// Up to a vector of adjacent columns of one row of an addend; lanes from `count` on are anything.
template <typename T>
HWY_INLINE VecF load_addend(const char* row, int64_t stride, int64_t column, int64_t count) {
  const char* from = row + column * stride;
  if (stride == 0) return set(to_float(*reinterpret_cast<const T*>(from)));
  if (stride == sizeof(T)) {
    const T* values = reinterpret_cast<const T*>(from);
    return count == static_cast<int64_t>(lanes()) ? load(values)
                                                  : load_n(values, static_cast<size_t>(count));
  }
  float lane[hn::MaxLanes(Floats())] = {};
  for (int64_t i = 0; i < count; ++i) {
    lane[i] = to_float(*reinterpret_cast<const T*>(from + i * stride));
  }
  return load(lane);
}

// Up to a vector of adjacent columns in all rows, so that a bias they share is read once.
// T: of the addends. Y: of the output, which is wider for a gate.
template <typename T, typename Y, Activation activation>
HWY_INLINE void finish_columns(const Epilogue& e, int64_t j, int64_t count) {
  const VecF alpha = set(e.alpha), beta = set(e.beta);
  const float* c = e.c + j;
  const float* gate = e.gate == nullptr ? nullptr : e.gate + j;
  char* y = static_cast<char*>(e.y) + j * static_cast<int64_t>(sizeof(Y));
  const char* bias_row = static_cast<const char*>(e.bias.data);
  const char* residual_row = static_cast<const char*>(e.residual.data);
  // Not read again after each store, which may be to anywhere.
  const int64_t rows = e.rows, y_stride = e.y_stride;
  const int64_t bias_stride = e.bias.row_stride, bias_step = e.bias.column_stride;
  const int64_t residual_stride = e.residual.row_stride, residual_step = e.residual.column_stride;
  VecF bias = zero();
  for (int64_t r = 0; r < rows; ++r, c += kPanelColumns, y += y_stride) {
    VecF x = hn::Mul(load(c), alpha);
    if (bias_row != nullptr) {
      if (r == 0 || bias_stride != 0) {
        bias = load_addend<T>(bias_row, bias_step, j, count);
        bias_row += bias_stride;
      }
      x = hn::MulAdd(bias, beta, x);
    }
    x = activate<activation>(x);
    if (gate != nullptr) {
      x = hn::Mul(load(gate), x);
      gate += kPanelColumns;
    }
    if (residual_row != nullptr) {
      x = hn::Add(x, load_addend<T>(residual_row, residual_step, j, count));
      residual_row += residual_stride;
    }
    if (count == static_cast<int64_t>(lanes())) {
      store(x, reinterpret_cast<Y*>(y));
    } else {
      store_n(x, reinterpret_cast<Y*>(y), static_cast<size_t>(count));
    }
  }
}

template <typename T, typename Y, Activation activation>
void finish(const Epilogue& e) {
  const int64_t width = static_cast<int64_t>(lanes());
  int64_t j = 0;
  for (; j + width <= e.columns; j += width) finish_columns<T, Y, activation>(e, j, width);
  if (j < e.columns) finish_columns<T, Y, activation>(e, j, e.columns - j);
}

template <typename T, typename Y>
EpilogueFunction find_for(Activation activation) {
  switch (activation) {
    case Activation::none: return finish<T, Y, Activation::none>;
    case Activation::relu: return finish<T, Y, Activation::relu>;
    case Activation::gelu: return finish<T, Y, Activation::gelu>;
    case Activation::gelu_tanh: return finish<T, Y, Activation::gelu_tanh>;
    case Activation::quick_gelu: return finish<T, Y, Activation::quick_gelu>;
    case Activation::silu: return finish<T, Y, Activation::silu>;
  }
  return nullptr;
}

EpilogueFunction find_epilogue(DType dtype, Activation activation) {
  switch (dtype) {
    case DType::bfloat16: return find_for<bfloat16, bfloat16>(activation);
    case DType::float16: return find_for<float16, float16>(activation);
    default: return find_for<float, float>(activation);
  }
}

EpilogueFunction find_gate(DType dtype, Activation activation) {
  switch (dtype) {
    case DType::bfloat16: return find_for<bfloat16, float>(activation);
    case DType::float16: return find_for<float16, float>(activation);
    default: return find_for<float, float>(activation);
  }
}

}  // namespace ostinato::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ostinato::cpu {

HWY_EXPORT(find_epilogue);
HWY_EXPORT(find_gate);

EpilogueFunction epilogue_function(DType dtype, Activation activation) {
  return HWY_DYNAMIC_DISPATCH(find_epilogue)(dtype, activation);
}

EpilogueFunction gate_function(DType dtype, Activation activation) {
  return HWY_DYNAMIC_DISPATCH(find_gate)(dtype, activation);
}

}  // namespace ostinato::cpu
#endif
