#include "ostinato/device/cuda/persistent/stages.h"

#include <algorithm>
#include <map>
#include <numeric>

namespace ostinato::cuda::persistent {

int Stages::add(std::vector<int> after, const ir::Node* node) {
  Stage stage;
  stage.before.resize(stages_.size());
  stage.node = node;
  std::sort(after.begin(), after.end(), std::greater<>());  // what is implied comes later
  for (const int other : after) {
    if (other < 0 || stage.before[static_cast<size_t>(other)]) continue;
    const Stage& waited = stages_[static_cast<size_t>(other)];
    stage.waits.push_back(other);
    stage.before[static_cast<size_t>(other)] = true;
    for (size_t i = 0; i < waited.before.size(); ++i) {
      if (waited.before[i]) stage.before[i] = true;
    }
  }
  if (stage.waits.size() > kWaits) throw Refused{"a call depends on too many others"};
  stages_.push_back(std::move(stage));
  return static_cast<int>(stages_.size()) - 1;
}

void Stages::place(int multiprocessor, int stage, Task task, size_t bytes) {
  task.call = task.signal = stage;
  ++stages_[static_cast<size_t>(stage)].tasks;
  loads_[static_cast<size_t>(multiprocessor)] += bytes;
  placed_.push_back({multiprocessor, task});
}

int Stages::least_loaded() const {
  return static_cast<int>(std::min_element(loads_.begin(), loads_.end()) - loads_.begin());
}

std::vector<int64_t> Stages::shares(int64_t count) const {
  const auto parts = static_cast<int64_t>(loads_.size());
  std::vector<int64_t> result(loads_.size(), count / parts);
  std::vector<size_t> order(loads_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return loads_[a] < loads_[b]; });
  for (int64_t i = 0; i < count % parts; ++i) ++result[order[static_cast<size_t>(i)]];
  return result;
}

bool Stages::is_last(int stage) const {
  const std::vector<bool>& before = stages_[static_cast<size_t>(stage)].before;
  return std::all_of(placed_.begin(), placed_.end(), [&](const Placed& placed) {
    const auto other = static_cast<size_t>(placed.task.call);
    return placed.task.kind == Kind::check || placed.task.call == stage ||
           (other < before.size() && before[other]);
  });
}

std::optional<Following> Stages::following(const Schedule& schedule) const {
  std::map<Kind, std::vector<const Task*>> of;
  for (const Task& task : schedule.tasks) of[task.kind].push_back(&task);
  if (of[Kind::pick].size() != 1 || of[Kind::embed].size() != 1) return std::nullopt;
  const Task &pick = *of[Kind::pick][0], &embed = *of[Kind::embed][0];
  if (!is_last(pick.call)) return std::nullopt;
  const auto pointer = [&](const Ref& ref, device::Address::Kind kind) -> std::optional<size_t> {
    if (ref.base < 1 || ref.base == Ref::kFixed || ref.offset != 0) return std::nullopt;
    const device::Address& address = schedule.pointers[static_cast<size_t>(ref.base - 1)];
    return address.kind == kind ? std::optional(address.index) : std::nullopt;
  };
  const auto output = pointer(pick.pick.output, device::Address::Kind::output);
  const auto input = pointer(embed.embed.id, device::Address::Kind::input);
  const auto position = pointer(of[Kind::attend][0]->attend.position, device::Address::Kind::input);
  if (!output || !input || !position) return std::nullopt;
  return Following{pick.signal, *output, *input, *position};
}

void Stages::finish(Schedule& schedule) const {
  schedule.counters = static_cast<int32_t>(stages_.size());
  for (const Stage& stage : stages_) schedule.labels.emplace_back(stage.node->op->name);
  for (int sm = 0; sm < multiprocessors(); ++sm) {
    schedule.first.push_back(static_cast<int32_t>(schedule.tasks.size()));
    for (const Placed& placed : placed_) {
      if (placed.multiprocessor != sm) continue;
      Task task = placed.task;
      const Stage& stage = stages_[static_cast<size_t>(task.call)];
      const auto& waits = stage.waits;
      task.node = stage.node;
      if (task.kind == Kind::attend) task.attend.in_stage = stage.tasks;
      for (size_t i = 0; i < waits.size(); ++i) task.waits[i] = {waits[i], tasks_of(waits[i])};
      schedule.tasks.push_back(task);
    }
  }
  schedule.first.push_back(static_cast<int32_t>(schedule.tasks.size()));
}

}  // namespace ostinato::cuda::persistent
