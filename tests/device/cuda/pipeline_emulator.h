#pragma once

#include "device/cuda/emulator.h"

/// On the host what Hopper's copies and barriers do, and counters between blocks: one copy in three
/// is done at once and the others not before somebody waits for them, so that both reading too
/// early and letting go too early show. A thread that has to wait lets the others go on.
namespace ostinato::cuda {

struct Barrier {
  uint16_t arrivals, missing;
  int32_t bytes : 31;
  uint32_t parity : 1;
};

inline char* shared_memory() { return emulator::shared_memory(); }
inline void pause() { emulator::wait_for_others(); }

inline void init(Barrier& barrier, int arrivals) {
  const auto count = static_cast<uint16_t>(arrivals);
  barrier = {count, count, 0, 0};
}
inline void publish_barriers() {}

inline void complete(Barrier& barrier) {
  if (barrier.missing > 0 || barrier.bytes != 0) return;
  barrier.missing = barrier.arrivals;
  barrier.parity ^= 1;
}
inline void arrive(Barrier& barrier) {
  --barrier.missing;
  complete(barrier);
}
inline void arrive_and_expect(Barrier& barrier, uint32_t bytes) {
  barrier.bytes += static_cast<int32_t>(bytes);
  arrive(barrier);
}
inline void wait(Barrier& barrier, uint32_t parity) {
  for (;;) {
    emulator::finish_copies(&barrier);
    if (barrier.parity != parity) return;
    pause();
  }
}
inline void bulk_copy(void* shared, const void* global, uint32_t bytes, Barrier& barrier) {
  const auto whole = [](const void* at) { return reinterpret_cast<uintptr_t>(at) % 16 == 0; };
  if (!whole(shared) || !whole(global) || bytes % 16 != 0 || bytes == 0) std::abort();
  emulator::begin_copy(&barrier, [=, &barrier] {
    std::memcpy(shared, global, bytes);
    barrier.bytes -= static_cast<int32_t>(bytes);
    complete(barrier);
  });
  static unsigned begun = 0;
  if (++begun % 3 == 0) emulator::finish_copies(&barrier);
}

inline void acquire_for_copies() {}

inline void sync_first(int threads) { emulator::wait_for_first(static_cast<unsigned>(threads)); }

inline uint64_t now() {
  static uint64_t time = 0;
  return ++time;
}

inline int32_t acquire(const int32_t* counter) { return *counter; }
inline void release_one(int32_t* counter) { ++*counter; }

}  // namespace ostinato::cuda

inline int atomicAdd(int32_t* counter, int value) {
  const int before = *counter;
  *counter += value;
  return before;
}
template <typename T>
T __ldcg(const T* pointer) {
  return *pointer;
}
