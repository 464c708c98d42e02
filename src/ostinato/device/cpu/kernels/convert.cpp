#include "ostinato/device/cpu/kernels/convert.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ostinato/device/cpu/kernels/convert.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ostinato/device/cpu/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ostinato::cpu::HWY_NAMESPACE {

// A plain loop, which the compiler vectorises for the target.
template <typename From, typename To>
void convert_values(const From* from, To* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    auto value = [&] {
      if constexpr (is_floating_v<From>) {
        return to_float(from[i]);
      } else {
        return from[i];
      }
    }();
    if constexpr (is_floating_v<To>) {
      to[i] = from_float<To>(static_cast<float>(value));
    } else if constexpr (std::is_same_v<To, bool>) {
      to[i] = value != 0;
    } else if constexpr (is_floating_v<From>) {
      to[i] = static_cast<To>(to_integer<To>(value));
    } else {
      to[i] = static_cast<To>(value);
    }
  }
}

template <typename From, typename To>
void convert_floats(const From* from, To* to, int64_t count) {
  const int64_t step = static_cast<int64_t>(lanes());
  int64_t i = 0;
  for (; i + step <= count; i += step) store(load(from + i), to + i);
  if (i < count) {
    const size_t rest = static_cast<size_t>(count - i);
    store_n(load_n(from + i, rest), to + i, rest);
  }
}

template <typename From, typename To>
void convert(const void* from, void* to, int64_t count) {
  const From* source = static_cast<const From*>(from);
  To* target = static_cast<To*>(to);
  if constexpr (std::is_same_v<From, To>) {
    std::copy_n(source, count, target);
  } else if constexpr (is_floating_v<From> && is_floating_v<To>) {
    convert_floats(source, target, count);
  } else {
    convert_values(source, target, count);
  }
}

Convert convert_of(DType from, DType to) {
  return dispatch(from, [&](auto a) -> Convert {
    using From = typename decltype(a)::type;
    return dispatch(to, [&](auto b) -> Convert {
      using To = typename decltype(b)::type;
      return convert<From, To>;
    });
  });
}

}  // namespace ostinato::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ostinato::cpu {

HWY_EXPORT(convert_of);

Convert find_convert(DType from, DType to) { return HWY_DYNAMIC_DISPATCH(convert_of)(from, to); }

}  // namespace ostinato::cpu
#endif  // HWY_ONCE
