#pragma once

#include <cstddef>

/// Counts what must not happen during a replay, and what must be planned before it, in all threads,
/// while a Watch is alive.
namespace ostinato::test {

struct Counts {
  size_t allocations = 0;    ///< malloc, calloc, realloc, aligned_alloc, posix_memalign
  size_t locks = 0;          ///< pthread mutexes and reader-writer locks
  size_t name_look_ups = 0;  ///< attributes, operands and operators found by name
  size_t aligned_bytes = 0;  ///< by aligned_alloc and posix_memalign: what devices and tensors take
};

class Watch {
 public:
  Watch();
  ~Watch();
  Counts counts() const;
};

}  // namespace ostinato::test
