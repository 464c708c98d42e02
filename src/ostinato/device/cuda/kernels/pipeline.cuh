#pragma once

#include "ostinato/device/cuda/kernels/prelude.cuh"

// Copies that run ahead of the threads that use them, and what blocks tell each other while they
// run: Hopper's bulk copies and barriers in shared memory, and counters in device memory.
#ifdef OSTINATO_EMULATED
#include "device/cuda/pipeline_emulator.h"
#else
namespace ostinato::cuda {

/// A barrier in shared memory, of threads that arrive and of bytes that are copied.
using Barrier = uint64_t;

__device__ inline char* shared_memory() {
  extern __shared__ __align__(128) char memory[];
  return memory;
}

#if __CUDA_ARCH__ >= 900
__device__ inline uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

__device__ inline void init(Barrier& barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&barrier)),
               "r"(arrivals)
               : "memory");
}

/// After barriers were made: bulk copies see them, which go another way to memory.
__device__ inline void publish_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ inline void arrive(Barrier& barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&barrier))
               : "memory");
}

/// Arrives, and makes the barrier wait for so many bytes besides.
__device__ inline void arrive_and_expect(Barrier& barrier, uint32_t bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&barrier)),
      "r"(bytes)
      : "memory");
}

/// Until the phase of this parity is over.
__device__ inline void wait(Barrier& barrier, uint32_t parity) {
  uint32_t done = 0;
  while (done == 0) {
    asm volatile(
        "{\n.reg .pred over;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 over, [%1], %2;\n"
        "selp.u32 %0, 1, 0, over;\n}"
        : "=r"(done)
        : "r"(shared_address(&barrier)), "r"(parity)
        : "memory");
  }
}

/// From device to shared memory; both addresses and the bytes are multiples of 16.
__device__ inline void bulk_copy(void* shared, const void* global, uint32_t bytes,
                                 Barrier& barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
          shared_address(shared)),
      "l"(__cvta_generic_to_global(global)), "r"(bytes), "r"(shared_address(&barrier))
      : "memory");
}

/// After this thread acquired a counter: bulk copies that it begins read what was written before.
__device__ inline void acquire_for_copies() {
  asm volatile("fence.proxy.async.global;" ::: "memory");
}
#endif

/// Of the first `threads` of a block, which the others pass by.
__device__ inline void sync_first(int threads) {
  asm volatile("bar.sync 1, %0;" ::"r"(threads) : "memory");
}

/// A counter of other blocks', and all that they did before they added to it.
__device__ inline int32_t acquire(const int32_t* counter) {
  int32_t value;
  asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(value) : "l"(counter) : "memory");
  return value;
}

__device__ inline void release_one(int32_t* counter) {
  asm volatile("red.release.gpu.global.add.s32 [%0], 1;" ::"l"(counter) : "memory");
}

__device__ inline void pause() { __nanosleep(20); }

/// Nanoseconds, the same on all multiprocessors.
__device__ inline uint64_t now() {
  uint64_t time;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(time));
  return time;
}

}  // namespace ostinato::cuda
#endif

namespace ostinato::cuda {

/// Past the first cache, where other blocks' results may be missing still.
template <typename T>
__device__ inline Pack<T> load_shared_result(const Pack<T>* pointer) {
  const uint4 bits = __ldcg(reinterpret_cast<const uint4*>(pointer));
  Pack<T> pack;
  memcpy(&pack, &bits, sizeof(pack));
  return pack;
}

template <typename T>
__device__ inline float load_shared_result(const T* pointer) {
  return to_float(__ldcg(pointer));
}

}  // namespace ostinato::cuda
