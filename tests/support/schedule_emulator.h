#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ostinato/device/cuda/persistent/schedule.h"
#include "support/random.h"

/// Runs the schedules of persistent launches on the host, a task at a time in plain float32 loops
/// that share nothing with the kernel, and proves things about their order.
namespace ostinato::cuda::persistent {

/// Bytes that a task reads or writes.
struct Access {
  int task;
  uintptr_t begin, end;
  bool write;
  bool copied = false;  ///< by the copying warp, which does not wait for the task's turn
};

/// A task that read an index which it must not.
struct BadIndex {
  int task;
};

class Emulator {
 public:
  explicit Emulator(Schedule schedule);

  /// Some steps, as one launch takes them, on the caller's pointers, in the order of the
  /// schedule's. Whichever multiprocessor has a task whose waits are over may run it next: the
  /// first, or one drawn at random. Throws BadIndex.
  /// @return false where none can go on though tasks are left
  bool run(std::span<void* const> pointers, int steps, Random* random = nullptr);

  const Schedule& schedule() const { return schedule_; }
  /// Of the last launch; a step's tasks are numbered after those of the step before.
  const std::vector<Access>& accesses() const { return accesses_; }
  /// That the steps of the last launch chose.
  const std::vector<int64_t>& tokens() const { return tokens_; }

 private:
  std::byte* at(const Ref& ref) const;
  template <typename T>
  const T* read(const Ref& ref, int64_t count);
  template <typename T>
  const T* copy(const Ref& ref, int64_t count);
  template <typename T>
  T* write(const Ref& ref, int64_t count);
  int border_of(size_t sm, int step, int steps) const;
  int64_t& token(int step, bool write = false);
  int64_t within(int64_t index, int64_t limit) const;
  int64_t position_of(const Ref& ref) { return *read<int64_t>(ref, 1) + step_; }
  void run(int task);
  template <typename T>
  void embed(const Embed& task);
  template <typename T>
  void product(const Product& task);
  template <typename T>
  std::vector<float> vector_of(const Product& task);
  template <typename T>
  std::vector<float> joined(const Product& task);
  template <typename T>
  void attend(const Attend& task);
  template <typename T>
  std::vector<float> turned(const Attend& task, const Ref& row, const Ref& weight,
                            int64_t position);
  void pick(const Pick& task);

  Schedule schedule_;
  std::vector<std::byte> workspace_;
  std::span<void* const> pointers_;
  std::vector<Access> accesses_;
  std::vector<int64_t> tokens_;
  int current_ = 0, step_ = 0;
};

/// So many steps of one launch as a schedule of one step, in which a task without work stands for
/// the wait between two steps of a multiprocessor, and a second list for each multiprocessor for
/// what its copying warp does, as far ahead as its waits allow. Changes the accesses of such a
/// launch to its tasks' numbers.
/// @param waits false: leaves the waits between two steps out
Schedule unrolled(const Schedule& schedule, int steps, std::vector<Access>& accesses,
                  bool waits = true);

/// Two tasks that touch the same bytes, one of them writing, though nothing orders them: what they
/// are; nothing where every such pair is ordered by its multiprocessor's list or by counters.
std::optional<std::string> find_race(const Schedule& schedule, const std::vector<Access>& accesses);

}  // namespace ostinato::cuda::persistent
