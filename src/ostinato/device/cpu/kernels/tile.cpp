#include "ostinato/device/cpu/kernels/tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ostinato/device/cpu/kernels/tile.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cstring>
#include <utility>

#include "ostinato/device/cpu/isa.h"
#include "ostinato/device/cpu/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ostinato::cpu::HWY_NAMESPACE {

// Vectors of a row that are summed at once: with AVX-512's 32 registers 6 rows of 4, with 16
// registers 6 rows of 2.
constexpr int kVectors = HWY_TARGET == HWY_AVX3 ? 4 : 2;

#include "ostinato/device/cpu/kernels/tile-inl.h"

struct FloatSums {
  using V = VecF;
  static int64_t lanes() { return static_cast<int64_t>(hn::Lanes(Floats())); }
  static HWY_INLINE V zero() { return hn::Zero(Floats()); }
  static HWY_INLINE void store(V sum, float* to) { hn::StoreU(sum, Floats(), to); }
};

// The elements of the inner dim in one step, as vectors: A holds one row's, each in all lanes, and
// B those of the columns in the lanes.
template <typename T>
struct Step : FloatSums {
  static constexpr int64_t kBytesA = sizeof(float), kBytesB = sizeof(T);
  struct A {
    VecF x;
  };
  struct B {
    VecF x;
  };
  static HWY_INLINE A load_a(const char* at) {
    float x;
    std::memcpy(&x, at, sizeof(x));
    return {set(x)};
  }
  static HWY_INLINE B load_b(const char* at) { return {load(reinterpret_cast<const T*>(at))}; }
  static HWY_INLINE VecF add_product(A a, B b, VecF sum) { return hn::MulAdd(a.x, b.x, sum); }
};

// Single elements of `b` all the same, not pairs.
struct PlainBfloat16 {};

template <>
struct Step<PlainBfloat16> : Step<float> {
  static constexpr int64_t kBytesB = sizeof(bfloat16);
  static HWY_INLINE B load_b(const char* at) {
    return {load(reinterpret_cast<const bfloat16*>(at))};
  }
};

template <>
struct Step<bfloat16> : FloatSums {
  static constexpr int64_t kBytesA = 4, kBytesB = 4;
  struct Pair {
    VecF even, odd;
  };
  using A = Pair;
  using B = Pair;
  static HWY_INLINE Pair split(hn::Vec<Words> pairs) {
    return {hn::BitCast(Floats(), hn::ShiftLeft<16>(pairs)),
            hn::BitCast(Floats(), hn::And(pairs, hn::Set(Words(), 0xffff0000u)))};
  }
  static HWY_INLINE A load_a(const char* at) {
    uint32_t pair;
    std::memcpy(&pair, at, sizeof(pair));
    return split(hn::Set(Words(), pair));
  }
  static HWY_INLINE B load_b(const char* at) {
    return split(hn::LoadU(Words(), reinterpret_cast<const uint32_t*>(at)));
  }
  static HWY_INLINE VecF add_product(A a, B b, VecF sum) {
    return hn::MulAdd(a.odd, b.odd, hn::MulAdd(a.even, b.even, sum));
  }
};

template <typename T, int rows>
void multiply_rows(const Tile& tile) {
  const int64_t width = static_cast<int64_t>(lanes());
  const char* b = static_cast<const char*>(tile.b);  // null of an empty matrix
  const int64_t b_step = tile.steps == 0 ? 0 : kVectors * width * Step<T>::kBytesB;
  float* c = tile.c;
  int64_t left = tile.columns / width;
  for (; left >= kVectors; left -= kVectors) {
    multiply_vectors<Step<T>, rows, kVectors>(tile, b, c);
    b += b_step;
    c += kVectors * width;
  }
  if constexpr (kVectors > 2) {  // else a group is a multiple of kVectors vectors
    switch (left) {
      case 1: return multiply_vectors<Step<T>, rows, 1>(tile, b, c);
      case 2: return multiply_vectors<Step<T>, rows, 2>(tile, b, c);
      case 3: return multiply_vectors<Step<T>, rows, 3>(tile, b, c);
      default: return;
    }
  }
}

template <typename T>
void multiply(const Tile& tile) {
  static_assert(kTileRows == 6);
  switch (tile.rows) {
    case 1: return multiply_rows<T, 1>(tile);
    case 2: return multiply_rows<T, 2>(tile);
    case 3: return multiply_rows<T, 3>(tile);
    case 4: return multiply_rows<T, 4>(tile);
    case 5: return multiply_rows<T, 5>(tile);
    default: return multiply_rows<T, 6>(tile);
  }
}

template <typename A, typename B>
float dot_one(const A* a, const B* b, int64_t count) {
  const int64_t width = static_cast<int64_t>(lanes());
  VecF sums[4] = {zero(), zero(), zero(), zero()};
  int64_t i = 0;
  for (; i + 4 * width <= count; i += 4 * width) {
    for (int64_t s = 0; s < 4; ++s) {
      sums[s] = hn::MulAdd(load(a + i + s * width), load(b + i + s * width), sums[s]);
    }
  }
  for (; i + width <= count; i += width) sums[0] = hn::MulAdd(load(a + i), load(b + i), sums[0]);
  if (i < count) {
    const size_t rest = static_cast<size_t>(count - i);
    sums[1] = hn::MulAdd(load_n(a + i, rest), load_n(b + i, rest), sums[1]);
  }
  return sum_of_lanes(hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3])));
}

template <typename A, typename B>
void dot(const Tile& tile) {
  for (int64_t j = 0; j < tile.columns; ++j) {
    const char* b = static_cast<const char*>(tile.b) + j * tile.b_stride;
    for (int64_t r = 0; r < tile.rows; ++r) {
      const char* a = static_cast<const char*>(tile.a) + r * tile.a_stride;
      tile.c[r * tile.c_stride + j] =
          dot_one(reinterpret_cast<const A*>(a), reinterpret_cast<const B*>(b), tile.steps);
    }
  }
}

TileKernel find_tile_kernel(DType dtype) {
  switch (dtype) {
    case DType::bfloat16:
      return {
          dtype, dtype, 2, multiply<bfloat16>, dot<bfloat16, bfloat16>, multiply<PlainBfloat16>};
    case DType::float16:
      return {DType::float32, dtype, 1, multiply<float16>, dot<float, float16>, multiply<float16>};
    default: return {dtype, dtype, 1, multiply<float>, dot<float, float>, multiply<float>};
  }
}

}  // namespace ostinato::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ostinato::cpu {

HWY_EXPORT(find_tile_kernel);

TileKernel tile_kernel(DType dtype) {
  TileKernel kernel = HWY_DYNAMIC_DISPATCH(find_tile_kernel)(dtype);
  if (dtype != DType::bfloat16 || isa() < Isa::avx512_bf16) return kernel;
  kernel.multiply = multiply_bf16_native;
  if (isa() >= Isa::amx) kernel.multiply = {multiply_bf16_amx, kMostTileRows};
  return kernel;
}

}  // namespace ostinato::cpu
#endif
