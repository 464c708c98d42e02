#include <chrono>

#include "ostinato/base/known_files.h"
#include "ostinato/base/memory.h"
#include "ostinato/device/device.h"

namespace ostinato::device {

namespace {

/// A choice is kept as a packed constant is: of the bytes of its key, eight bytes.
PackedCache::Key kept_as(const std::string& key) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(key.data());
  return {digest({bytes, key.size()}), "choice", sizeof(int64_t)};
}

}  // namespace

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
    const auto note = KnownFiles::find_any(constant);
    PackedCache::Item item{{note ? note->digest : digest(constant, threads), format, bytes}, {}};
    entry = cache_->find(item.key, threads);
    if (entry == nullptr && note && !note->own) {
      // What goes to disk does so under what this process has read, whatever times tell.
      item.key.constant = digest(constant, threads);
      if (item.key.constant != note->digest) entry = cache_->find(item.key, threads);
    }
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

std::optional<int64_t> PackedWeights::choice(const std::string& key) {
  const std::scoped_lock lock(mutex_);
  if (const auto found = choices_.find(key); found != choices_.end()) return found->second;
  const auto kept = cache_ == nullptr ? nullptr : cache_->find(kept_as(key), 1);
  if (kept == nullptr) return std::nullopt;
  return choices_[key] = *static_cast<const int64_t*>(kept.get());
}

void PackedWeights::remember(const std::string& key, int64_t choice) {
  const std::scoped_lock lock(mutex_);
  choices_[key] = choice;
  if (cache_ != nullptr) cache_->keep({{kept_as(key), std::make_shared<int64_t>(choice)}});
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
