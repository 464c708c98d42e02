#include "ostinato/device/device.h"

namespace ostinato::device {

std::shared_ptr<const void> PackedWeights::get(const void* constant, const std::string& format,
                                               size_t bytes, const Make& make) {
  const std::scoped_lock lock(mutex_);
  auto& entry = packed_[{constant, format}];
  if (entry == nullptr) {
    entry = make();
    bytes_ += bytes;
  }
  return entry;
}

size_t PackedWeights::bytes() const {
  const std::scoped_lock lock(mutex_);
  return bytes_;
}

}  // namespace ostinato::device
