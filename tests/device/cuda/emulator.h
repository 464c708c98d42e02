#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "ostinato/device/cuda/kernels/operands.h"

/// Runs kernels for the GPU on the host, so that what they compute is tested where there is no GPU:
/// the threads of a block in turn, each up to the next barrier or exchange between lanes. What it
/// cannot show is speed, and races between threads that no barrier parts.
namespace ostinato::emulator {

struct Index {
  unsigned x = 0, y = 0, z = 0;
};
extern Index thread_index, block_index, block_size, grid_size;

void wait_for_block();
void wait_for_warp();
/// Notes that this thread has waited for the kernels before; every thread has to.
void note_wait();
/// Of the block's first threads, of which there are so many.
void wait_for_first(unsigned threads);
/// Lets all other threads go on, those of other blocks of a cooperative launch too.
void wait_for_others();
/// The block's own, as much as the launch asks for.
char* shared_memory();
/// A copy that goes on beside the block's threads, until somebody finishes those of its barrier. A
/// block that ends before its copies ends the process.
void begin_copy(const void* barrier, std::function<void()> copy);
void finish_copies(const void* barrier);
/// The 8 bytes that each lane of the warp gave last.
uint64_t* lane_slots();

struct Kernel {
  std::function<void(const void* operands, const void* params)> run;
  size_t params_bytes = 0;
};

/// Null when there is none of that name.
const Kernel* find(const std::string& name);
bool add(const std::string& name, Kernel kernel);

/// How a kernel is started.
struct Launch {
  Index grid;
  unsigned threads = 1, shared_bytes = 0;
  bool cooperative = false;  ///< all blocks at once, so that they can wait for each other
};

void launch(const Kernel& kernel, const Launch& launch, const void* operands, const void* params);

template <typename T>
T exchange(T value, unsigned lane) {
  static_assert(sizeof(T) <= 8);
  uint64_t* const slots = lane_slots();
  std::memcpy(&slots[thread_index.x % 32], &value, sizeof(T));
  wait_for_warp();
  T result;
  std::memcpy(&result, &slots[lane % 32], sizeof(T));
  wait_for_warp();
  return result;
}

}  // namespace ostinato::emulator

#undef __global__
#undef __device__
#undef __shared__
#define __global__
#define __device__
#define __shared__ static
#define threadIdx ::ostinato::emulator::thread_index
#define blockIdx ::ostinato::emulator::block_index
#define blockDim ::ostinato::emulator::block_size
#define gridDim ::ostinato::emulator::grid_size

inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
using std::isinf;
using std::isnan;
using std::max;
using std::min;
inline void __syncthreads() { ostinato::emulator::wait_for_block(); }
inline void __syncwarp(unsigned = 0xffffffffu) { ostinato::emulator::wait_for_warp(); }
template <typename T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return ostinato::emulator::exchange(
      value, (ostinato::emulator::thread_index.x % 32) ^ static_cast<unsigned>(mask));
}
template <typename T>
T __shfl_sync(unsigned, T value, int lane) {
  return ostinato::emulator::exchange(value, static_cast<unsigned>(lane));
}

inline void __threadfence() {}
/// Blocks run one after the other.
inline unsigned atomicInc(unsigned* counter, unsigned most) {
  const unsigned old = *counter;
  *counter = old >= most ? 0 : old + 1;
  return old;
}

namespace ostinato::cuda {
inline void wait_for_producers() { emulator::note_wait(); }
inline void let_consumers_begin() {}
}  // namespace ostinato::cuda

#define OSTINATO_EARLY_KERNEL(name, most_threads, Params)                             \
  static_assert((most_threads) <= 1024);                                              \
  static void name(const ::ostinato::cuda::Operands& operands, const Params& params); \
  static const bool name##_added = ::ostinato::emulator::add(                         \
      #name, {[](const void* operands, const void* params) {                          \
                name(*static_cast<const ::ostinato::cuda::Operands*>(operands),       \
                     *static_cast<const Params*>(params));                            \
              },                                                                      \
              sizeof(Params)});                                                       \
  static void name([[maybe_unused]] const ::ostinato::cuda::Operands& operands,       \
                   [[maybe_unused]] const Params& params)
#define OSTINATO_UNROLL
#define OSTINATO_UNROLL_2
#define OSTINATO_UNROLL_4
