#pragma once

#include <vector>

#include "ostinato/device/cpu/kernel.h"

namespace ostinato::cpu {

class CpuStream final : public device::Stream {
 public:
  explicit CpuStream(int threads) : team(threads) {}
  int threads() const override { return team.size(); }
  ThreadTeam team;
};

/// A flat list of bound calls, run by the stream's team in one go.
class CpuCapture final : public device::Capture {
 public:
  CpuCapture(std::vector<device::Step> steps, CpuStream& stream);

  /// Throws `invalid_argument` naming the operator that met an index out of range.
  void replay(const device::Bindings& bindings) override;

 private:
  struct Call {
    const Kernel* kernel;
    Args args;
    bool barrier;  // before the next call: one of the two is run by several workers
  };
  struct Patch {
    size_t slot;
    device::Address address;
  };

  void run(Worker worker) const;
  [[noreturn]] void report_fault();

  std::vector<device::Step> steps_;  // keeps the kernels
  std::vector<void*> slots_;         // all operands' addresses, call after call
  std::vector<Patch> patches_;       // those that the caller gives with each replay
  std::vector<Call> calls_;
  Fault fault_{nullptr};
  CpuStream& stream_;
  bool parallel_ = false;
};

}  // namespace ostinato::cpu
