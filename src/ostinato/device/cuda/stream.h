#pragma once

#include <memory>
#include <vector>

#include "ostinato/device/cuda/driver.h"
#include "ostinato/device/device.h"

namespace ostinato::cuda {

/// A stream of the driver, a word of host memory where its kernels say that an operand is bad,
/// counters that its kernels share, and executable graphs that captures left behind for the next
/// ones to update.
class CudaStream final : public device::Stream {
 public:
  /// @param tickets memory of the device for kTickets counters
  /// @param launches_early whether kernels can be resident before those they depend on are done
  CudaStream(CUcontext context, std::shared_ptr<void> tickets, bool launches_early);
  ~CudaStream() override;
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  CUstream get() const { return stream_; }
  CUcontext context() const { return context_; }
  const void** fault() const { return fault_; }
  bool launches_early() const { return launches_early_; }
  unsigned* tickets() const { return static_cast<unsigned*>(tickets_.get()); }

  /// Waits for all that was queued, and calls `throw_fault`.
  void synchronise();

  /// Throws `invalid_argument` naming the operator, if one met a bad element since the last time.
  void throw_fault();

  /// An executable graph made of `graph`: a spare one updated where the topology is the same,
  /// otherwise a new one.
  CUgraphExec executable(CUgraph graph);
  void keep_spare(CUgraphExec executable);

 private:
  CUcontext context_;
  CUstream stream_ = nullptr;
  const void** fault_ = nullptr;  // page-locked, and written by the device only when all is lost
  std::shared_ptr<void> tickets_;
  bool launches_early_;
  std::vector<CUgraphExec> spares_;
};

/// An event of the driver's, without a time.
class CudaEvent final : public device::Event {
 public:
  explicit CudaEvent(CudaStream& stream);
  ~CudaEvent() override;
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  void record() override;
  void wait() override;

 private:
  CudaStream& stream_;
  CUevent event_ = nullptr;
};

}  // namespace ostinato::cuda
