#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "ostinato/base/dtype.h"
#include "ostinato/tensor.h"

namespace ostinato {

/// The standard's distributions differ between libraries; this one does not.
class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}

  /// In [low, high].
  int64_t operator()(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(engine_() % static_cast<uint64_t>(high - low + 1));
  }
  bool chance(int percent) { return (*this)(1, 100) <= percent; }

  template <typename T>
  const T& pick(const std::vector<T>& from) {
    return from[static_cast<size_t>((*this)(0, static_cast<int64_t>(from.size()) - 1))];
  }

 private:
  std::mt19937_64 engine_;
};

/// Eighths in [-2, 2], which every floating dtype has, times `scale`; integers 0 and 1.
inline Tensor random_tensor(Random& random, DType dtype, std::vector<int64_t> shape,
                            float scale = 1) {
  Tensor tensor = Tensor::empty(dtype, std::move(shape));
  dispatch(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t i = 0; i < tensor.numel(); ++i) {
      if constexpr (is_floating_v<T>) {
        tensor.as<T>()[i] = from_float<T>(static_cast<float>(random(-16, 16)) / 8 * scale);
      } else {
        tensor.as<T>()[i] = static_cast<T>(random(0, 1));
      }
    }
  });
  return tensor;
}

}  // namespace ostinato
