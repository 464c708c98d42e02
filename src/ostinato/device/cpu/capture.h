#pragma once

#include <memory>
#include <vector>

#include "ostinato/device/cpu/kernel.h"

namespace ostinato::cpu {

class CpuStream final : public device::Stream {
 public:
  explicit CpuStream(int threads) : team(threads) {}
  int threads() const override { return team.size(); }
  ThreadTeam team;
};

/// A flat list of bound calls, run by the stream's team in one go. Where no call takes more than
/// the caller's thread, the team is only invited, to the sections: a team that sleeps costs nothing
/// then, and the caller runs the sides that nobody takes.
class CpuCapture final : public device::Capture {
 public:
  CpuCapture(std::vector<device::Step> steps, CpuStream& stream);

  /// Throws `invalid_argument` naming the operator that met an index out of range.
  void replay(const device::Bindings& bindings) override;

 private:
  struct Call {
    const Kernel* kernel;
    Args args;
    bool barrier;  // before the next call of its side: one of the two is run by several workers
  };
  /// Calls that run in their order.
  struct Side {
    size_t first, last;
    std::unique_ptr<Barrier> barrier;  // of the workers of this side; null: of the team
  };
  /// The sides of a section, or a single one of what lies between sections.
  struct Part {
    std::vector<Side> sides;
    // In a replay, where one worker does for each side; null where each has workers of its own.
    std::unique_ptr<std::atomic<size_t>> claimed;
  };
  /// What a worker has before each replay.
  struct Deal {
    Share* share;
    int64_t items;
  };
  struct Patch {
    size_t slot;
    device::Address address;
  };

  void bind(const device::Step& step);
  void share(Call& call);  ///< lets its workers help each other, where they can
  void divide(const std::vector<device::Step>& steps);
  void run(Worker worker) const;
  void run(const Part& part, Worker worker) const;
  void run(const Side& side, Worker worker) const;
  [[noreturn]] void report_fault();

  std::vector<std::shared_ptr<const device::Kernel>> kernels_;  // kept while calls use them
  std::vector<void*> slots_;    // all operands' addresses, call after call
  std::vector<Patch> patches_;  // those that the caller gives with each replay
  std::vector<Call> calls_;     // those of a side one after the other
  std::vector<Part> parts_;
  std::vector<std::unique_ptr<Share[]>> shares_;  // of calls whose workers help each other
  std::vector<Deal> deals_;
  Fault fault_{nullptr};
  CpuStream& stream_;
  bool parallel_ = false;
};

}  // namespace ostinato::cpu
