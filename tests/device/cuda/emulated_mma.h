#pragma once

#include "device/cuda/emulator.h"

/// What warps compute together on tensor cores, for kernels that run on the host: as the PTX manual
/// says which lane holds what. Included by kernels/mma.cuh after the kernels' own types.
namespace ostinato::cuda {

/// Calls `f` with what each lane of the warp gave, while all of it stays as it is.
template <typename T, typename F>
void with_lanes(const T& given, F&& f) {
  uint64_t* const slots = emulator::lane_slots();
  slots[threadIdx.x % 32] = reinterpret_cast<uint64_t>(&given);
  emulator::wait_for_warp();
  f([slots](unsigned lane) -> const T& { return *reinterpret_cast<const T*>(slots[lane]); });
  emulator::wait_for_warp();
}

template <typename T>
float half_of(uint32_t pair, unsigned which) {
  T halves[2];
  std::memcpy(static_cast<void*>(halves), &pair, sizeof(pair));
  return to_float(halves[which]);
}

template <typename T>
void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  struct Fragments {
    uint32_t a[4], b[2];
  };
  const Fragments own{{a[0], a[1], a[2], a[3]}, {b0, b1}};
  with_lanes(own, [&](const auto& of) {
    const unsigned lane = threadIdx.x % 32;
    for (unsigned e = 0; e < 4; ++e) {
      const unsigned row = lane / 4 + e / 2 * 8, column = lane % 4 * 2 + e % 2;
      for (unsigned k = 0; k < 16; ++k) {
        const uint32_t left = of(row % 8 * 4 + k % 8 / 2).a[row / 8 + k / 8 * 2];
        const uint32_t right = of(column * 4 + k % 8 / 2).b[k / 8];
        d[e] += half_of<T>(left, k % 2) * half_of<T>(right, k % 2);
      }
    }
  });
}

inline void load_tiles_as(uint32_t (&tiles)[4], const void* row, bool transposed) {
  with_lanes(row, [&](const auto& of) {
    const unsigned lane = threadIdx.x % 32;
    for (unsigned tile = 0; tile < 4; ++tile) {
      uint16_t pair[2];
      for (unsigned i = 0; i < 2; ++i) {
        const unsigned r = transposed ? lane % 4 * 2 + i : lane / 4;
        const unsigned c = transposed ? lane / 4 : lane % 4 * 2 + i;
        pair[i] = static_cast<const uint16_t*>(of(tile * 8 + r))[c];
      }
      std::memcpy(&tiles[tile], pair, sizeof(pair));
    }
  });
}
inline void load_tiles(uint32_t (&tiles)[4], const void* row) { load_tiles_as(tiles, row, false); }
inline void load_tiles_transposed(uint32_t (&tiles)[4], const void* row) {
  load_tiles_as(tiles, row, true);
}

inline void copy_later(void* shared, const void* global, bool zeros) {
  if (zeros) {
    std::memset(shared, 0, 16);
  } else {
    std::memcpy(shared, global, 16);
  }
}
inline void wait_for_copies() {}

}  // namespace ostinato::cuda
