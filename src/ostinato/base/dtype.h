#pragma once

#include <cstdint>
#include <limits>
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

/// Towards zero. What an int64 (or for int32 an int32) cannot hold becomes the least one, as x86
/// has it; narrower integers keep its low bits.
template <typename T>
int64_t to_integer(double value) {
  using Wide = std::conditional_t<std::is_same_v<T, int32_t>, int32_t, int64_t>;
  constexpr Wide kLeast = std::numeric_limits<Wide>::min();
  const bool fits = value > static_cast<double>(kLeast) - 1 && value < -static_cast<double>(kLeast);
  return fits ? static_cast<Wide>(value) : kLeast;
}

}  // namespace ostinato
