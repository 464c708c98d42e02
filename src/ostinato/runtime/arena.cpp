#include "ostinato/runtime/arena.h"

#include <algorithm>

namespace ostinato::runtime {

std::shared_ptr<void> Arena::take(device::Device& device, size_t bytes) {
  if (bytes > bytes_ || memory_ == nullptr) {
    const size_t grown = std::max(bytes, 2 * bytes_);
    memory_ = device.allocate(grown);
    bytes_ = grown;
  }
  return memory_;
}

}  // namespace ostinato::runtime
