#pragma once

#include <string_view>
#include <vector>

#include "ostinato/base/threads.h"
#include "ostinato/device/device.h"

namespace ostinato::cpu {

/// Where a kernel says that an operand holds what it must not, such as an index out of range: it
/// stores its node here, reads and writes nothing outside its operands, and goes on.
using Fault = std::atomic<const ir::Node*>;

/// The addresses of one run, each of an operand's first element; null for None.
struct Args {
  void* const* inputs;
  void* const* outputs;
  void* scratch;
  Fault* fault;
  Share* shares = nullptr;  ///< of each worker what `Kernel::items` says; null: nobody helps others
};

/// A kernel that runs on a team of threads. All that can be decided once is decided when it is
/// made; `run` only computes, and neither allocates nor locks nor throws.
class Kernel : public device::Kernel {
 public:
  /// How many of the team's workers pay for this much work: 1 keeps it on one thread.
  int workers() const final { return workers_; }

  /// How many items of a run are the worker's own, but may be done by others that have none left.
  /// 0 where the work is divided once and for all.
  virtual int64_t items(Worker) const { return 0; }

  /// Called with `worker.index` in [0, workers()) and `worker.count == workers()`, by all those
  /// workers at once and each once. Workers must not depend on each other's progress.
  virtual void run(const Args& args, Worker worker) const = 0;

 protected:
  int workers_ = 1;
};

/// Calls `work(owner, item)` for the worker's own items, and then for those that its mates have
/// left, if there are shares.
/// @param mates workers, this one among them
template <typename Work>
void work_off(const Args& args, Worker worker, int64_t own, Range mates, Work&& work) {
  if (args.shares == nullptr) {
    for (int64_t item = 0; item < own; ++item) work(worker.index, item);
    return;
  }
  for (int64_t item; (item = args.shares[worker.index].take_first()) >= 0;) {
    work(worker.index, item);
  }
  for (int64_t i = 1; i < mates.end - mates.begin; ++i) {  // each begins with another
    const int64_t next = worker.index + i;
    const auto mate = static_cast<int>(next < mates.end ? next : next - mates.end + mates.begin);
    for (int64_t item; (item = args.shares[mate].take_last()) >= 0;) work(mate, item);
  }
}

/// The workers that pay for a kernel that takes about this long on one thread: below the cost of
/// waking the others, one.
int workers_for(double microseconds, int threads);

/// The same from the bytes that an elementwise kernel reads and writes.
int workers_for_bytes(size_t bytes, int threads);

/// Makes a kernel for a request, or null when the dtypes or layouts are not its own.
using Factory = std::unique_ptr<Kernel> (*)(const device::Request& request);

/// The kernels of this device: for each operator and tier one factory.
class KernelTable {
 public:
  void add(std::string_view op, device::Tier tier, Factory make);
  Factory find(std::string_view op, device::Tier tier) const;

 private:
  std::map<std::pair<std::string_view, device::Tier>, Factory> rows_;
};

/// All of them. Made at the first call, immutable after it.
const KernelTable& kernels();

}  // namespace ostinato::cpu
