#include <chrono>

#include "ostinato/base/memory.h"
#include "ostinato/device/device.h"

namespace ostinato::device {

std::shared_ptr<const void> PackedWeights::get(std::span<const uint8_t> constant,
                                               const std::string& format, size_t bytes, int threads,
                                               const Make& make) {
  constexpr size_t kWorthKeeping = kHugePage;  // less is packed sooner than found
  const std::scoped_lock lock(mutex_);
  auto& entry = packed_[{constant.data(), format}];
  if (entry != nullptr) return entry;
  const auto start = std::chrono::steady_clock::now();
  if (cache_ == nullptr || bytes < kWorthKeeping) {
    entry = make();
  } else {
    PackedCache::Item item{{digest(constant, threads), format, bytes}, nullptr};
    entry = cache_->find(item.key, threads);
    if (entry == nullptr) {
      entry = item.data = make();
      made_.push_back(std::move(item));
    }
  }
  const auto elapsed = std::chrono::steady_clock::now() - start;
  milliseconds_ += std::chrono::duration<double, std::milli>(elapsed).count();
  bytes_ += bytes;
  return entry;
}

void PackedWeights::keep() {
  const std::scoped_lock lock(mutex_);
  if (!made_.empty()) cache_->keep(std::exchange(made_, {}));
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
