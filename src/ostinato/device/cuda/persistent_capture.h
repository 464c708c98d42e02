#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ostinato/device/cuda/kernel.h"
#include "ostinato/device/cuda/persistent/schedule.h"
#include "ostinato/device/cuda/stream.h"

namespace ostinato::cuda {

/// A decoding step, or several, as one launch that stays on the GPU until they are done: a block to
/// each multiprocessor, all at once.
class PersistentCapture final : public device::Capture {
 public:
  PersistentCapture(persistent::Schedule schedule, device::Device& device, Functions& functions,
                    CudaStream& stream);

  /// Writes when each task of the last step ran to the file that OSTINATO_TIMELINE names, if it
  /// names one; bench/gpu/timeline.py draws it.
  ~PersistentCapture() override;
  PersistentCapture(const PersistentCapture&) = delete;
  PersistentCapture& operator=(const PersistentCapture&) = delete;

  /// Whether a block runs on each multiprocessor, as all must at once.
  bool fits() const { return fits_; }

  void replay(const device::Bindings& bindings) override;
  void advance(const device::Bindings& bindings, const device::Feedback& feedback) override;
  int steps_at_once() const override;
  std::string remark() const override { return "persistent launch"; }

 private:
  void launch(const device::Bindings& bindings);
  void write_times(const char* path) const;
  std::vector<std::byte> image(const persistent::Schedule& schedule);

  CudaStream& stream_;
  persistent::Schedule schedule_;
  CUfunction function_ = nullptr, feed_back_ = nullptr;
  unsigned blocks_ = 0, shared_bytes_ = 0;
  bool fits_ = false;
  persistent::Launched launched_{};
  Operands operands_{};
  std::shared_ptr<void> memory_;  // tasks, counters, and what tasks leave each other
};

/// Which of the two a capture becomes where it can be both: `OSTINATO_PERSISTENT` says `on` or
/// `off`, or else the faster is kept.
enum class Persistent { on, off, measured };

/// Throws `invalid_argument` for another value.
Persistent persistent_of_environment();

/// The steps as one persistent launch, as a graph of kernels, or as whichever turns out faster and
/// gives the same. The first replay then runs both, waits for them, and lets go of the other.
/// @param can_persist whether the GPU has what a persistent launch needs
std::unique_ptr<device::Capture> make_capture(std::vector<device::Step> steps,
                                              device::Device& device, Functions& functions,
                                              CudaStream& stream, bool can_persist);

}  // namespace ostinato::cuda
