#include <chrono>

#include "ostinato/device/device.h"

namespace ostinato::device {

std::shared_ptr<const void> PackedWeights::get(const void* constant, const std::string& format,
                                               size_t bytes, const Make& make) {
  const std::scoped_lock lock(mutex_);
  auto& entry = packed_[{constant, format}];
  if (entry == nullptr) {
    const auto start = std::chrono::steady_clock::now();
    entry = make();
    const auto elapsed = std::chrono::steady_clock::now() - start;
    milliseconds_ += std::chrono::duration<double, std::milli>(elapsed).count();
    bytes_ += bytes;
  }
  return entry;
}

size_t PackedWeights::bytes() const {
  const std::scoped_lock lock(mutex_);
  return bytes_;
}

double PackedWeights::milliseconds() const {
  const std::scoped_lock lock(mutex_);
  return milliseconds_;
}

}  // namespace ostinato::device
