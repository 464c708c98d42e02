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

// T: of the addends. Y: of the output, which is wider for a gate.
template <typename T, typename Y, Activation activation>
void finish(const Epilogue& e) {
  const int64_t width = static_cast<int64_t>(lanes());
  const VecF alpha = set(e.alpha), beta = set(e.beta);
  for (int64_t r = 0; r < e.rows; ++r) {
    const float* c = e.c + r * kPanelColumns;
    const float* gate = e.gate == nullptr ? nullptr : e.gate + r * kPanelColumns;
    Y* y = reinterpret_cast<Y*>(static_cast<char*>(e.y) + r * e.y_stride);
    const char* bias = static_cast<const char*>(e.bias.data) + r * e.bias.row_stride;
    const char* residual = static_cast<const char*>(e.residual.data) + r * e.residual.row_stride;
    for (int64_t j = 0; j < e.columns; j += width) {
      const int64_t count = std::min(width, e.columns - j);
      VecF x = hn::Mul(load(c + j), alpha);
      if (e.bias.data != nullptr) {
        x = hn::MulAdd(load_addend<T>(bias, e.bias.column_stride, j, count), beta, x);
      }
      x = activate<activation>(x);
      if (gate != nullptr) x = hn::Mul(load(gate + j), x);
      if (e.residual.data != nullptr) {
        x = hn::Add(x, load_addend<T>(residual, e.residual.column_stride, j, count));
      }
      if (count == width) {
        store(x, y + j);
      } else {
        store_n(x, y + j, static_cast<size_t>(count));
      }
    }
  }
}

template <typename T, typename Y>
EpilogueFunction find_for(Activation activation) {
  switch (activation) {
    case Activation::none: return finish<T, Y, Activation::none>;
    case Activation::relu: return finish<T, Y, Activation::relu>;
    case Activation::gelu: return finish<T, Y, Activation::gelu>;
    case Activation::gelu_tanh: return finish<T, Y, Activation::gelu_tanh>;
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
