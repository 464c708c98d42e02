#pragma once

#include <cmath>
#include <cstring>

#include "ostinato/base/dtype.h"
#include "ostinato/tensor.h"

namespace ostinato {

/// The same in every bit, or NaN both.
inline bool same(const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype() || a.shape() != b.shape()) return false;
  return dispatch(a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t i = 0; i < a.numel(); ++i) {
      const T *left = a.as<T>() + i, *right = b.as<T>() + i;
      if (std::memcmp(left, right, sizeof(T)) == 0) continue;
      if constexpr (is_floating_v<T>) {
        if (std::isnan(to_float(*left)) && std::isnan(to_float(*right))) continue;
      }
      return false;
    }
    return true;
  });
}

}  // namespace ostinato
