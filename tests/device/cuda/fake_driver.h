#pragma once

#include <functional>

#include "ostinato/device/cuda/driver.h"

/// A driver for machines without one, in place of NVIDIA's: its kernels are the device's own, run
/// on the host by the emulator, in memory that the host can touch only while they run. Work waits
/// until its stream is synchronised, or an event behind it waited for; a graph's nodes run in
/// another order than they were added in, where their edges allow one. It keeps account of what the
/// device asks of it.
namespace ostinato::cuda {

struct FakeMachine {
  int gpus = 1;
  int capability = 90;
  int multiprocessors = 2;
  size_t memory_bytes = size_t{256} << 20;
  /// Otherwise work is done when it is queued, for callers that read results as they like.
  bool work_waits = true;
};

/// What has been called, counted since `use_fake_driver`.
struct FakeCounts {
  size_t graph_launches = 0, kernel_launches = 0, instantiations = 0, updates = 0, patches = 0;
  size_t synchronisations = 0, event_waits = 0, copies = 0, cooperative_launches = 0;
  struct Graph {
    size_t kernels = 0, calls = 0;  ///< nodes: of ours, and of libraries
    size_t early = 0;               ///< kernels that may be resident before the one before is done
    size_t joins = 0;               ///< nodes that depend on several
  } last_graph;                     ///< that was launched
};

/// From now on, for good. Called again it counts from zero, on the machine as it now is.
void use_fake_driver(const FakeMachine& machine = {});

FakeCounts& fake_counts();

/// Queues work on a stream, or into the graph that it records, as a library of kernels does.
void queue_on(CUstream stream, std::function<void()> work);

}  // namespace ostinato::cuda
