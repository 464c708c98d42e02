#pragma once

#include <type_traits>

#include "ostinato/base/float16.h"
#include "ostinato/tensor.h"

namespace ostinato {

template <typename T>
inline constexpr bool is_floating_v =
    std::is_same_v<T, float> || std::is_same_v<T, bfloat16> || std::is_same_v<T, float16>;

/// The dtype of a C++ type.
template <typename T>
inline constexpr DType dtype_v = [] {
  if constexpr (std::is_same_v<T, float>) return DType::float32;
  if constexpr (std::is_same_v<T, bfloat16>) return DType::bfloat16;
  if constexpr (std::is_same_v<T, float16>) return DType::float16;
  if constexpr (std::is_same_v<T, int64_t>) return DType::int64;
  if constexpr (std::is_same_v<T, int32_t>) return DType::int32;
  if constexpr (std::is_same_v<T, uint8_t>) return DType::uint8;
  if constexpr (std::is_same_v<T, bool>) return DType::boolean;
}();

template <typename T>
struct type_tag {
  using type = T;
};

/// Calls `f(type_tag<T>{})` with the C++ type of the dtype: float, bfloat16, float16, int64_t,
/// int32_t, uint8_t, bool.
template <typename F>
decltype(auto) dispatch(DType dtype, F&& f) {
  switch (dtype) {
    case DType::float32: return f(type_tag<float>{});
    case DType::bfloat16: return f(type_tag<bfloat16>{});
    case DType::float16: return f(type_tag<float16>{});
    case DType::int64: return f(type_tag<int64_t>{});
    case DType::int32: return f(type_tag<int32_t>{});
    case DType::uint8: return f(type_tag<uint8_t>{});
    case DType::boolean: return f(type_tag<bool>{});
  }
  __builtin_unreachable();
}

}  // namespace ostinato
