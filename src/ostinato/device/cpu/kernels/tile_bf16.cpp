#include <hwy/base.h>
#include <immintrin.h>

#include <cstring>
#include <utility>

#include "ostinato/device/cpu/kernels/tile.h"

// This instruction is younger than the Highway of Debian 12, hence the intrinsics.
HWY_PUSH_ATTRIBUTES("avx512f,avx512bf16")

namespace ostinato::cpu {

namespace {

#include "ostinato/device/cpu/kernels/tile-inl.h"

constexpr int kLanes = 16;

// Pairs of bfloat16.
struct Pairs {
  using V = __m512;
  using A = __m512bh;
  using B = __m512bh;
  static constexpr int64_t kBytesB = 4;
  static int64_t lanes() { return kLanes; }
  static V zero() { return _mm512_setzero_ps(); }
  static V load_sum(const float* from) { return _mm512_loadu_ps(from); }
  static A load_a(const char* at) {
    int pair;
    std::memcpy(&pair, at, sizeof(pair));
    return (__m512bh)_mm512_set1_epi32(pair);
  }
  static B load_b(const char* at) { return (__m512bh)_mm512_loadu_si512(at); }
  static V add_product(A a, B b, V sum) { return _mm512_dpbf16_ps(sum, a, b); }
  static void store(V sum, float* to) { _mm512_storeu_ps(to, sum); }
};

template <int rows>
void multiply_rows(const Tile& tile) {
  static_assert(kPanelGroup == kLanes && kPanelColumns == 4 * kLanes);
  const char* b = static_cast<const char*>(tile.b);
  switch (tile.columns / kLanes) {
    case 1: return multiply_vectors<Pairs, rows, 1>(tile, b, tile.c);
    case 2: return multiply_vectors<Pairs, rows, 2>(tile, b, tile.c);
    case 3: return multiply_vectors<Pairs, rows, 3>(tile, b, tile.c);
    default:
      if constexpr (rows <= kWideTile.rows)
        return multiply_vectors<Pairs, rows, 4>(tile, b, tile.c);
  }
}

template <int rows>
void multiply(const Tile& tile) {
  if constexpr (rows > 1) {
    if (tile.rows < rows) return multiply<rows - 1>(tile);
  }
  multiply_rows<rows>(tile);
}

}  // namespace

TileFunction multiply_bf16_native(bool high) {
  if (high) return {multiply<kHighTile.rows>, kHighTile.rows};
  return {multiply<kWideTile.rows>, kWideTile.rows};
}

}  // namespace ostinato::cpu

HWY_POP_ATTRIBUTES
