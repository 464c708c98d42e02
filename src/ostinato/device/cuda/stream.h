#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "ostinato/base/error.h"
#include "ostinato/device/cuda/driver.h"
#include "ostinato/device/device.h"

namespace ostinato::cuda {

/// A stream of the driver, its own or another library's; a word of host memory where its kernels
/// say that an operand is bad; counters that its kernels share; and executable graphs that captures
/// left behind for the next ones to update.
class CudaStream final : public device::Stream {
 public:
  /// @param tickets memory of the device for kTickets counters
  /// @param launches_early whether kernels can be resident before those they depend on are done
  /// @param borrowed another library's, which is neither waited for in a replay nor destroyed
  CudaStream(CUcontext context, std::shared_ptr<void> tickets, bool launches_early,
             std::optional<CUstream> borrowed = {});
  ~CudaStream() override;
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  CUstream get() const { return stream_; }
  /// Where calls of libraries are recorded: the default stream cannot record.
  CUstream recording() const { return own_; }
  bool is_borrowed() const { return own_ != stream_; }
  CUcontext context() const { return context_; }
  const void** fault() const { return fault_; }
  bool launches_early() const { return launches_early_; }
  unsigned* tickets() const { return static_cast<unsigned*>(tickets_.get()); }

  /// Waits for all that was queued, and calls `throw_fault`.
  void synchronise();

  /// Throws `invalid_argument` naming the operator, if one met a bad element since the last time.
  void throw_fault();

  /// Waits for what still uses a capture of a borrowed stream, which nobody else waits for, before
  /// its memory and nodes go; a fault that shows is thrown later.
  void settle() noexcept;

  /// An executable graph made of `graph`: a spare one updated where the topology is the same,
  /// otherwise a new one.
  CUgraphExec executable(CUgraph graph);
  void keep_spare(CUgraphExec executable);

 private:
  std::optional<Error> take_fault();  // of a node that is still there

  CUcontext context_;
  CUstream own_ = nullptr, stream_ = nullptr;
  std::optional<Error> settled_;  // a fault that `settle` found
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
