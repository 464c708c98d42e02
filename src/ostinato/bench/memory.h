#pragma once

#include <atomic>
#include <cstddef>
#include <thread>

namespace ostinato::bench {

/// The largest resident set of this process so far, mapped files included, in bytes: the kernel
/// keeps it (`VmHWM`).
size_t peak_resident_bytes();

/// Anonymous memory of this process now, in bytes: what it allocated, and neither mapped files nor
/// shared memory.
size_t anonymous_bytes();

/// The peak of anonymous memory over the stretches in which a `Watch` lives. Of anonymous memory
/// the kernel keeps no high-water mark, so that a thread reads it every millisecond: a spike that
/// is shorter may be missed. Where time is measured, nothing should watch.
class AnonymousPeak {
 public:
  class Watch {
   public:
    explicit Watch(AnonymousPeak& peak);
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

   private:
    AnonymousPeak& peak_;
    std::atomic<bool> stop_{false};
    std::thread thread_;
  };

  /// The largest seen so far, now included.
  size_t bytes();

 private:
  void look();

  std::atomic<size_t> bytes_{0};
};

}  // namespace ostinato::bench
