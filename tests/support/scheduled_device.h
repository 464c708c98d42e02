#pragma once

#include <functional>
#include <memory>
#include <string>

#include "ostinato/device/device.h"
#include "support/schedule_emulator.h"

namespace ostinato {

/// The CPU, but that a capture becomes the schedule of a persistent launch where it can, and runs
/// on the emulator of schedules. Captures that cannot run the CPU's kernels.
class ScheduledDevice final : public device::Device {
 public:
  explicit ScheduledDevice(int multiprocessors) : multiprocessors_(multiprocessors) {}

  std::string_view name() const override { return "scheduled"; }
  device::Properties properties() const override { return below_.properties(); }
  std::shared_ptr<void> allocate(size_t bytes) override { return below_.allocate(bytes); }
  void clear(void* target, size_t bytes, device::Stream& stream) override {
    below_.clear(target, bytes, stream);
  }
  void copy_to_device(void* target, const void* host, size_t bytes,
                      device::Stream& stream) override {
    below_.copy_to_device(target, host, bytes, stream);
  }
  void copy_to_host(void* host, const void* source, size_t bytes, device::Stream& stream) override {
    below_.copy_to_host(host, source, bytes, stream);
  }
  std::unique_ptr<device::Stream> make_stream(int threads) override {
    return below_.make_stream(threads);
  }
  bool has(const ir::OpRow& op) const override { return below_.has(op); }
  std::unique_ptr<device::Kernel> prepare(const device::Request& request) override;
  void launch(const device::Step& step, const device::Bindings& bindings,
              device::Stream& stream) override;
  std::unique_ptr<device::Capture> capture(std::vector<device::Step> steps,
                                           device::Stream& stream) override;
  void synchronise(device::Stream& stream) override { below_.synchronise(stream); }

  /// Of the capture made last: why it has no schedule, or its emulator.
  std::string reason;
  std::shared_ptr<cuda::persistent::Emulator> emulator;
  /// Draws the order of tasks where it is there.
  std::unique_ptr<Random> random;

 private:
  int multiprocessors_;
  device::Device& below_ = device::get("cpu");
};

}  // namespace ostinato
