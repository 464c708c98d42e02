#include <immintrin.h>

#include <cstring>

#include "ostinato/device/cpu/kernels/tile.h"

// This instruction is younger than the Highway of Debian 12, hence the intrinsics.
#define OSTINATO_AVX512_BF16 __attribute__((target("avx512f,avx512bf16")))

namespace ostinato::cpu {

namespace {

constexpr int kLanes = 16;

template <int rows, int vectors>
OSTINATO_AVX512_BF16 void multiply_vectors(const Tile& tile) {
  __m512 sums[rows][vectors];
  for (auto& row : sums) {
    for (__m512& sum : row) sum = _mm512_setzero_ps();
  }
  const char *a = static_cast<const char*>(tile.a), *b = static_cast<const char*>(tile.b);
  const int64_t a_stride = tile.a_stride, b_stride = tile.b_stride;
  for (int64_t step = 0; step < tile.steps; ++step) {
    __m512bh right[vectors];
    for (int v = 0; v < vectors; ++v) right[v] = (__m512bh)_mm512_loadu_si512(b + 64 * v);
    for (int r = 0; r < rows; ++r) {
      int pair;
      std::memcpy(&pair, a + r * a_stride, sizeof(pair));
      const __m512bh left = (__m512bh)_mm512_set1_epi32(pair);
      for (int v = 0; v < vectors; ++v) {
        sums[r][v] = _mm512_dpbf16_ps(sums[r][v], left, right[v]);
      }
    }
    a += sizeof(int);
    b += b_stride;
  }
  for (int r = 0; r < rows; ++r) {
    for (int v = 0; v < vectors; ++v) {
      _mm512_storeu_ps(tile.c + r * tile.c_stride + v * kLanes, sums[r][v]);
    }
  }
}

template <int rows>
void multiply_rows(const Tile& tile) {
  static_assert(kPanelGroup == kLanes && kPanelColumns == 4 * kLanes);
  switch (tile.columns / kLanes) {
    case 1: return multiply_vectors<rows, 1>(tile);
    case 2: return multiply_vectors<rows, 2>(tile);
    case 3: return multiply_vectors<rows, 3>(tile);
    default: return multiply_vectors<rows, 4>(tile);
  }
}

}  // namespace

void multiply_bf16_native(const Tile& tile) {
  static_assert(kTileRows == 6);
  switch (tile.rows) {
    case 1: return multiply_rows<1>(tile);
    case 2: return multiply_rows<2>(tile);
    case 3: return multiply_rows<3>(tile);
    case 4: return multiply_rows<4>(tile);
    case 5: return multiply_rows<5>(tile);
    default: return multiply_rows<6>(tile);
  }
}

}  // namespace ostinato::cpu
