#pragma once

#include <cstring>

#include "ostinato/device/cuda/kernels/prelude.cuh"

/// Products of small matrices by a whole warp, from compute capability 8.0 on. What a lane holds of
/// each matrix is as the PTX manual has it (mma.m16n8k16, ldmatrix): of the 8×8 tiles that operands
/// are made of, lane l has elements 2·(l % 4) and 2·(l % 4) + 1 of row l / 4.
#ifdef OSTINATO_EMULATED
#include "device/cuda/emulated_mma.h"
#endif

namespace ostinato::cuda {

#ifndef OSTINATO_EMULATED
__device__ inline uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

/// d (16×8) += a (16×16) · b (16×8)
template <typename T>
__device__ inline void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);
template <>
__device__ inline void mma<bf16>(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <>
__device__ inline void mma<f16>(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Four 8×8 tiles from shared memory; lane l gives the address of row l % 8 of tile l / 8.
__device__ inline void load_tiles(uint32_t (&tiles)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(tiles[0]), "=r"(tiles[1]), "=r"(tiles[2]), "=r"(tiles[3])
               : "r"(shared_address(row))
               : "memory");
}

/// The same, of which lanes then hold the transposed tiles.
__device__ inline void load_tiles_transposed(uint32_t (&tiles)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(tiles[0]), "=r"(tiles[1]), "=r"(tiles[2]), "=r"(tiles[3])
               : "r"(shared_address(row))
               : "memory");
}

/// Begins to copy 16 aligned bytes to shared memory, or zeros.
__device__ inline void copy_later(void* shared, const void* global, bool zeros) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(shared_address(shared)), "l"(global), "r"(zeros ? 0 : 16)
               : "memory");
}

/// Waits for all that this thread has begun to copy.
__device__ inline void wait_for_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }
#endif

/// Two values side by side, as the operands of `mma` are.
template <typename T>
__device__ inline uint32_t pair_of(T first, T second) {
  const T pair[2] = {first, second};
  uint32_t bits = 0;
  memcpy(&bits, pair, sizeof(bits));
  return bits;
}

}  // namespace ostinato::cuda
