#pragma once

#include <memory>

#include "ostinato/device/device.h"

namespace ostinato::runtime {

/// Memory that captures which never run at once share. It doubles when it grows, so that a sequence
/// that grows by a token each time leaves but a few behind; older captures keep what they are bound
/// to. Memory that no capture reaches is never touched, and so never resident.
class Arena {
 public:
  /// At least so many bytes, the same for all that ask until it has to grow.
  std::shared_ptr<void> take(device::Device& device, size_t bytes);

  size_t bytes() const { return bytes_; }

 private:
  std::shared_ptr<void> memory_;
  size_t bytes_ = 0;
};

}  // namespace ostinato::runtime
