#pragma once

#include <vector>

#include "ostinato/device/cuda/persistent/dataflow.h"

namespace ostinato::cuda::persistent {

/// The tasks of a step by stages: one for each call that has tasks. A task waits for all tasks of
/// the stages that its own comes after; what those came after themselves needs no waiting for.
class Stages {
 public:
  explicit Stages(int multiprocessors) : loads_(static_cast<size_t>(multiprocessors)) {}

  int multiprocessors() const { return static_cast<int>(loads_.size()); }

  /// A stage for a call, after others, by what it reads; negative ones are left out.
  int add(std::vector<int> after, const ir::Node* node);

  /// Gives a multiprocessor one more task, which keeps it busy with so many bytes of memory.
  void place(int multiprocessor, int stage, Task task, size_t bytes);
  int least_loaded() const;

  /// How many of `count` alike rows each multiprocessor takes, so that their loads stay alike.
  std::vector<int64_t> shares(int64_t count) const;

  int tasks_of(int stage) const { return stages_[static_cast<size_t>(stage)].tasks; }

  /// Does something to each task of a stage, in the order in which they were placed.
  template <typename F>
  void each_of(int stage, F&& change) {
    for (Placed& placed : placed_) {
      if (placed.task.call == stage) change(placed.task);
    }
  }

  /// Tasks by multiprocessor, with their counters.
  void finish(Schedule& schedule) const;

  /// Of a finished schedule: nothing where several tokens are chosen or fed, or some task may run
  /// after the choice.
  std::optional<Following> following(const Schedule& schedule) const;

 private:
  /// Whether all tasks that write are done when this stage is: checks are what may be left.
  bool is_last(int stage) const;

  struct Stage {
    std::vector<int> waits;
    std::vector<bool> before;  // all stages that are done when this one begins
    int tasks = 0;
    const ir::Node* node = nullptr;
  };
  struct Placed {
    int multiprocessor;
    Task task;
  };
  std::vector<Stage> stages_;
  std::vector<Placed> placed_;
  std::vector<size_t> loads_;
};

}  // namespace ostinato::cuda::persistent
