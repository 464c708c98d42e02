#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "ostinato/device/cuda/persistent/task.h"
#include "ostinato/device/device.h"

namespace ostinato::cuda::persistent {

/// A call of the graph as it was prepared, and where its operands lie.
struct Call {
  device::Request request;
  std::vector<device::Address> inputs, outputs;
};

/// How a step leads to the next one within a launch.
struct Following {
  int32_t chosen;  ///< the counter of the task that chooses the token, after all others
  size_t output, input, position;  ///< of the caller's: the token, what takes it, and the position
};

/// One decoding step as lists of tasks, one for each multiprocessor, that count what is done so
/// that they can wait for each other.
struct Schedule {
  std::vector<Task> tasks;     ///< those of the first multiprocessor, then of the next, …
  std::vector<int32_t> first;  ///< each multiprocessor's first task, and at the end their number
  int32_t counters = 0;
  std::vector<device::Address> pointers;  ///< of the caller's: what bases from 1 on stand for
  size_t workspace_bytes = 0;             ///< base 0: what tasks leave each other, and the tables
  size_t tables_at = 0;                   ///< in the workspace
  std::vector<std::byte> tables;  ///< what depends on the position alone, a row to each position
  std::optional<Following> following;  ///< where steps can follow each other in one launch
  int32_t most_depth = 0;              ///< elements of the longest vector that a product takes
  DType dtype = DType::bfloat16;
  size_t weight_bytes = 0;          ///< read by a step
  std::vector<std::string> labels;  ///< of the calls that tasks belong to

  int multiprocessors() const { return static_cast<int>(first.size()) - 1; }
};

/// A schedule, or why there is none.
struct Planned {
  std::optional<Schedule> schedule;
  std::string reason;  ///< a sentence; empty where there is a schedule
};

/// Cuts the calls of a graph into tasks. It takes graphs that feed one token through embeddings,
/// dense layers, RMSNorms, and attention over a cache of keys and values; it knows operators, and
/// no model. Whatever else it meets is a reason to refuse.
/// @param multiprocessors how many blocks run at once
Planned make_schedule(const std::vector<Call>& calls, int multiprocessors);

}  // namespace ostinato::cuda::persistent
