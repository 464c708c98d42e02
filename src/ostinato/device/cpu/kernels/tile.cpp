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

// Rows, and vectors of a row, that are summed at once.
struct Shape {
  int rows, vectors;
};
// With 32 registers what is high reads less of the right matrix for each sum; 16 have one shape.
constexpr Shape shape_of(TileShape tile) {
  if (HWY_TARGET != HWY_AVX3) return {6, 2};
  return {static_cast<int>(tile.rows), static_cast<int>(tile.columns) / 16};
}
constexpr Shape kWide = shape_of(kWideTile), kHigh = shape_of(kHighTile);

#include "ostinato/device/cpu/kernels/tile-inl.h"

struct FloatSums {
  using V = VecF;
  static int64_t lanes() { return static_cast<int64_t>(hn::Lanes(Floats())); }
  static HWY_INLINE V zero() { return hn::Zero(Floats()); }
  static HWY_INLINE V load_sum(const float* from) { return hn::LoadU(Floats(), from); }
  static HWY_INLINE void store(V sum, float* to) { hn::StoreU(sum, Floats(), to); }
};

// The elements of the inner dim in one step, as vectors: A holds one row's, each in all lanes, and
// B those of the columns in the lanes.
template <typename T>
struct Step : FloatSums {
  static constexpr int64_t kBytesB = sizeof(T);
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
  static constexpr int64_t kBytesB = 4;
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

template <typename T, int rows, int vectors>
void multiply_rows(const Tile& tile) {
  const int64_t width = static_cast<int64_t>(lanes());
  const char* b = static_cast<const char*>(tile.b);  // null of an empty matrix
  const int64_t b_step = tile.steps == 0 ? 0 : vectors * width * Step<T>::kBytesB;
  float* c = tile.c;
  int64_t left = tile.columns / width;
  for (; left >= vectors; left -= vectors) {
    multiply_vectors<Step<T>, rows, vectors>(tile, b, c);
    b += b_step;
    c += vectors * width;
  }
  if constexpr (vectors > 2) {  // else a group is a multiple of so many
    switch (left) {
      case 1: return multiply_vectors<Step<T>, rows, 1>(tile, b, c);
      case 2: return multiply_vectors<Step<T>, rows, 2>(tile, b, c);
      case 3: return multiply_vectors<Step<T>, rows, 3>(tile, b, c);
      default: return;
    }
  }
}

template <typename T, int rows, int vectors>
void multiply(const Tile& tile) {
  if constexpr (rows > 1) {
    if (tile.rows < rows) return multiply<T, rows - 1, vectors>(tile);
  }
  multiply_rows<T, rows, vectors>(tile);
}

template <typename T>
TileFunction function_of(bool high) {
  if (high) return {multiply<T, kHigh.rows, kHigh.vectors>, kHigh.rows};
  return {multiply<T, kWide.rows, kWide.vectors>, kWide.rows};
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

TileKernel find_tile_kernel(DType dtype, bool high) {
  static_assert(kWide.rows >= kFewRows && kHigh.rows <= kMostTileRows);
  const int64_t columns = (high ? kHighTile : kWideTile).columns;
  switch (dtype) {
    case DType::bfloat16:
      return {dtype,
              dtype,
              2,
              columns,
              function_of<bfloat16>(high),
              dot<bfloat16, bfloat16>,
              function_of<PlainBfloat16>(high)};
    case DType::float16: {
      const TileFunction multiply = function_of<float16>(high);
      return {DType::float32, dtype, 1, columns, multiply, dot<float, float16>, multiply};
    }
    default: {
      const TileFunction multiply = function_of<float>(high);
      return {dtype, dtype, 1, columns, multiply, dot<float, float>, multiply};
    }
  }
}

}  // namespace ostinato::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ostinato::cpu {

HWY_EXPORT(find_tile_kernel);

TileKernel tile_kernel(DType dtype, int64_t inner) {
  constexpr int64_t kNear = 512 << 10;  // half of the smallest L2 caches that cores have today
  const int64_t element = dtype == DType::bfloat16 ? 2 : 4;  // float16 is widened
  const bool high = inner * kPanelColumns * element > kNear;
  TileKernel kernel = HWY_DYNAMIC_DISPATCH(find_tile_kernel)(dtype, high);
  if (dtype != DType::bfloat16 || isa() < Isa::avx512_bf16) return kernel;
  kernel.multiply = multiply_bf16_native(high);
  if (isa() >= Isa::amx) kernel.multiply = {multiply_bf16_amx, kMostTileRows};
  return kernel;
}

}  // namespace ostinato::cpu
#endif
