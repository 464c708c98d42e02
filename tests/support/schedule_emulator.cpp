#include "support/schedule_emulator.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "ostinato/base/dtype.h"
#include "ostinato/base/error.h"

namespace ostinato::cuda::persistent {

namespace {

template <typename T>
float rounded(float x) {
  return to_float(from_float<T>(x));
}

float activated(float x, ops::Activation activation) {
  switch (activation) {
    case ops::Activation::none: return x;
    case ops::Activation::relu: return std::max(x, 0.0f);
    case ops::Activation::gelu: return x * 0.5f * (1 + std::erf(x * 0.70710678f));
    case ops::Activation::gelu_tanh:
      return 0.5f * x * (1 + std::tanh(0.79788456f * (x + 0.044715f * x * x * x)));
    case ops::Activation::quick_gelu: return x / (1 + std::exp(-1.702f * x));
    case ops::Activation::silu: return x / (1 + std::exp(-x));
  }
  return x;
}

/// x / sqrt(mean(x²) + eps), rounded, times weight, rounded.
template <typename T>
void normalise(std::vector<float>& x, const T* weight, float eps) {
  float squares = 0;
  for (const float element : x) squares += element * element;
  const float scale = 1 / std::sqrt(squares / static_cast<float>(x.size()) + eps);
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = rounded<T>(x[i] * scale);
    if (weight != nullptr) x[i] = rounded<T>(x[i] * to_float(weight[i]));
  }
}

}  // namespace

Emulator::Emulator(Schedule schedule)
    : schedule_(std::move(schedule)), workspace_(schedule_.workspace_bytes, std::byte{0xff}) {
  std::copy(schedule_.tables.begin(), schedule_.tables.end(),
            workspace_.begin() + static_cast<std::ptrdiff_t>(schedule_.tables_at));
}

std::byte* Emulator::at(const Ref& ref) const {
  if (ref.base == Ref::kNone) return nullptr;
  if (ref.base == Ref::kFixed) return reinterpret_cast<std::byte*>(ref.offset);
  if (ref.base == 0) return const_cast<std::byte*>(workspace_.data()) + ref.offset;
  return static_cast<std::byte*>(pointers_[static_cast<size_t>(ref.base - 1)]) + ref.offset;
}

template <typename T>
const T* Emulator::read(const Ref& ref, int64_t count) {
  const std::byte* begin = at(ref);
  if (begin == nullptr) return nullptr;
  const auto first = reinterpret_cast<uintptr_t>(begin);
  accesses_.push_back({current_, first, first + static_cast<size_t>(count) * sizeof(T), false});
  return reinterpret_cast<const T*>(begin);
}

template <typename T>
const T* Emulator::copy(const Ref& ref, int64_t count) {
  const T* begin = read<T>(ref, count);
  accesses_.back().copied = true;
  return begin;
}

template <typename T>
T* Emulator::write(const Ref& ref, int64_t count) {
  auto* begin = const_cast<T*>(read<T>(ref, count));
  accesses_.back().write = true;
  return begin;
}

int64_t Emulator::within(int64_t index, int64_t limit) const {
  if (index < 0 || index >= limit)
    throw BadIndex{current_ % static_cast<int>(schedule_.tasks.size())};
  return index;
}

/// Of accesses: the wait of a multiprocessor after a step, numbered behind all tasks.
int Emulator::border_of(size_t sm, int step, int steps) const {
  return static_cast<int>(schedule_.tasks.size()) * steps + static_cast<int>(sm) * steps + step;
}

/// That a step chose, as memory that tasks read and write.
int64_t& Emulator::token(int step, bool write) {
  int64_t& place = tokens_[static_cast<size_t>(step)];
  const auto begin = reinterpret_cast<uintptr_t>(&place);
  accesses_.push_back({current_, begin, begin + sizeof(place), write});
  return place;
}

bool Emulator::run(std::span<void* const> pointers, int steps, Random* random) {
  pointers_ = pointers;
  accesses_.clear();
  tokens_.assign(static_cast<size_t>(steps), -1);
  const size_t count = schedule_.tasks.size();
  std::vector<int32_t> counters(static_cast<size_t>(schedule_.counters));
  std::vector<int32_t> next(schedule_.first.begin(), schedule_.first.end() - 1);
  std::vector<int> step(next.size());
  for (size_t left = count * static_cast<size_t>(steps); left > 0; --left) {
    std::vector<size_t> ready;
    for (size_t sm = 0; sm < next.size(); ++sm) {
      if (next[sm] == schedule_.first[sm + 1] && step[sm] + 1 < steps &&
          counters[static_cast<size_t>(schedule_.following->chosen)] > step[sm]) {
        current_ = border_of(sm, step[sm], steps);
        token(step[sm]++);  // a stop would end it
        next[sm] = schedule_.first[sm];
      }
      if (next[sm] == schedule_.first[sm + 1]) continue;
      const Task& task = schedule_.tasks[static_cast<size_t>(next[sm])];
      const bool over = std::all_of(task.waits, task.waits + kWaits, [&](const Wait& wait) {
        return wait.counter < 0 ||
               counters[static_cast<size_t>(wait.counter)] >= wait.count * (step[sm] + 1);
      });
      if (over) ready.push_back(sm);
    }
    if (ready.empty()) return false;
    const size_t sm = random == nullptr ? ready.front() : random->pick(ready);
    step_ = step[sm];
    current_ = next[sm] + step_ * static_cast<int>(count);
    run(next[sm]);
    ++counters[static_cast<size_t>(schedule_.tasks[static_cast<size_t>(next[sm])].signal)];
    ++next[sm];
  }
  return true;
}

void Emulator::run(int number) {
  const Task& task = schedule_.tasks[static_cast<size_t>(number)];
  const bool half = schedule_.dtype == DType::float16;
  switch (task.kind) {
    case Kind::check: within(*read<int64_t>(task.check.index, 1), task.check.limit); break;
    case Kind::embed: half ? embed<float16>(task.embed) : embed<bfloat16>(task.embed); break;
    case Kind::product:
      half ? product<float16>(task.product) : product<bfloat16>(task.product);
      break;
    case Kind::attend: half ? attend<float16>(task.attend) : attend<bfloat16>(task.attend); break;
    case Kind::pick: pick(task.pick); break;
  }
}

template <typename T>
void Emulator::embed(const Embed& task) {
  const int64_t id = step_ == 0 ? *read<int64_t>(task.id, 1) : token(step_ - 1);
  const int64_t row = within(id, task.rows);
  Ref from = task.table;
  from.offset += static_cast<uint64_t>(row * task.width) * sizeof(T);
  std::memcpy(write<T>(task.output, task.width), read<T>(from, task.width),
              static_cast<size_t>(task.width) * sizeof(T));
}

template <typename T>
std::vector<float> Emulator::joined(const Product& task) {
  const int64_t position = position_of(task.position);
  const int splits = splits_with_keys(position, task.window, task.splits);
  const int64_t row = task.head_dim + 2;
  std::vector<float> x;
  for (int head = 0; head < task.heads; ++head) {
    Ref first = task.input;
    first.offset += static_cast<uint64_t>(head * task.splits * row) * sizeof(float);
    const auto* parts = read<float>(first, splits * row);
    float largest = -INFINITY, divisor = 0;
    for (int s = 0; s < splits; ++s) {
      largest = std::max(largest, parts[s * row + task.head_dim]);
    }
    std::vector<float> sums(static_cast<size_t>(task.head_dim));
    for (int s = 0; s < splits; ++s) {
      const float* part = parts + s * row;
      const float factor = std::exp(part[task.head_dim] - largest);
      divisor += factor * part[task.head_dim + 1];
      for (size_t i = 0; i < sums.size(); ++i) sums[i] += factor * part[i];
    }
    for (const float sum : sums) x.push_back(rounded<T>(sum / divisor));
  }
  return x;
}

template <typename T>
std::vector<float> Emulator::vector_of(const Product& task) {
  if (task.prologue == Input::joined) return joined<T>(task);
  const T* x = read<T>(task.input, task.depth);
  std::vector<float> result(static_cast<size_t>(task.depth));
  std::transform(x, x + task.depth, result.begin(), [](T element) { return to_float(element); });
  if (task.prologue == Input::normed) {
    normalise(result, read<T>(task.norm_weight, task.depth), task.eps);
  }
  return result;
}

template <typename T>
void Emulator::product(const Product& task) {
  const std::vector<float> x = vector_of<T>(task);
  const T *weights[2]{}, *biases[2]{};
  for (int m = 0; m < task.matrices; ++m) {
    weights[m] = copy<T>(task.weights[m], int64_t{task.rows} * task.depth);
    biases[m] = read<T>(task.biases[m], task.rows);
  }
  const T* residual = read<T>(task.residual, task.rows);
  T* y = write<T>(task.output, task.rows);
  Best best{-INFINITY, task.first_row};
  for (int row = 0; row < task.rows; ++row) {
    float sums[2] = {0, 0};
    for (int m = 0; m < task.matrices; ++m) {
      const T* of_row = weights[m] + int64_t{row} * task.depth;
      for (size_t i = 0; i < x.size(); ++i) sums[m] += to_float(of_row[i]) * x[i];
      if (biases[m] != nullptr) sums[m] += to_float(biases[m][row]);
    }
    float value = activated(sums[0], task.activation);
    if (task.matrices == 2) value *= sums[1];
    if (residual != nullptr) value += to_float(residual[row]);
    y[row] = from_float<T>(value);
    if (to_float(y[row]) > best.value) best = {to_float(y[row]), task.first_row + row};
  }
  if (task.best.base != Ref::kNone) *write<Best>(task.best, 1) = best;
}

template <typename T>
std::vector<float> Emulator::turned(const Attend& task, const Ref& row, const Ref& weight,
                                    int64_t position) {
  const T* from = read<T>(row, task.head_dim);
  std::vector<float> x(static_cast<size_t>(task.head_dim));
  std::transform(from, from + task.head_dim, x.begin(), [](T value) { return to_float(value); });
  if (task.normed != 0) normalise(x, read<T>(weight, task.head_dim), task.eps);
  const auto table = [&](Ref ref) {
    ref.offset += static_cast<uint64_t>(position * task.rotated) * sizeof(T);
    return read<T>(ref, task.rotated);
  };
  const T *cos = table(task.cos), *sin = table(task.sin);
  std::vector<float> result = x;
  const int half = task.rotated / 2;
  for (int i = 0; i < task.rotated; ++i) {
    const bool first = task.interleaved != 0 ? i % 2 == 0 : i < half;
    const int partner = task.interleaved != 0 ? i ^ 1 : (i + half) % task.rotated;
    const auto other = x[static_cast<size_t>(partner)];
    result[static_cast<size_t>(i)] = rounded<T>(x[static_cast<size_t>(i)] * to_float(cos[i]) +
                                                (first ? -other : other) * to_float(sin[i]));
  }
  return result;
}

template <typename T>
void Emulator::attend(const Attend& task) {
  const int64_t position = within(position_of(task.position), task.capacity);
  const Keys keys = keys_of(position, task.window, task.splits, task.split);
  const int64_t dim = task.head_dim;
  const auto head_size = static_cast<uint64_t>(dim) * sizeof(T);
  const auto rows = [&](Ref cache, int64_t first) {
    cache.offset += static_cast<uint64_t>(first) * head_size;
    return cache;
  };
  const T* old_keys = copy<T>(rows(task.key_cache, keys.begin), (keys.end - keys.begin) * dim);
  const T* old_values = copy<T>(rows(task.value_cache, keys.begin), (keys.end - keys.begin) * dim);
  std::vector<T> key, value;
  if (task.split == 0) {
    for (const float x : turned<T>(task, task.key, task.key_weight, position)) {
      key.push_back(from_float<T>(x));
    }
    const T* from = read<T>(task.value, dim);
    value.assign(from, from + dim);
    if (task.writes != 0) {
      std::copy(key.begin(), key.end(), write<T>(rows(task.key_cache, position), dim));
      std::copy(value.begin(), value.end(), write<T>(rows(task.value_cache, position), dim));
    }
  }
  for (int h = 0; h < task.heads; ++h) {
    Ref row = task.query;
    row.offset += static_cast<uint64_t>(h) * head_size;
    const std::vector<float> q = turned<T>(task, row, task.query_weight, position);
    std::vector<std::pair<float, const T*>> scored;
    const auto score = [&](const T* k, const T* v) {
      float sum = 0;
      for (size_t i = 0; i < q.size(); ++i) sum += q[i] * to_float(k[i]);
      scored.emplace_back(sum * task.scale, v);
    };
    for (int64_t i = 0; i < keys.end - keys.begin; ++i)
      score(old_keys + i * dim, old_values + i * dim);
    if (task.split == 0) score(key.data(), value.data());
    Ref partial = task.partial;
    const int64_t at = int64_t{task.first_head + h} * task.splits + task.split;
    partial.offset += static_cast<uint64_t>(at * (dim + 2)) * sizeof(float);
    float* part = write<float>(partial, dim + 2);
    std::fill(part, part + dim + 2, 0.0f);
    part[dim] = -INFINITY;
    for (const auto& [s, v] : scored) part[dim] = std::max(part[dim], s);
    for (const auto& [s, v] : scored) {
      const float weight = std::exp(s - part[dim]);
      part[dim + 1] += weight;
      for (int64_t i = 0; i < dim; ++i) part[i] += weight * to_float(v[i]);
    }
  }
}

void Emulator::pick(const Pick& task) {
  const Best* best = read<Best>(task.best, task.count);
  const Best* largest = std::max_element(best, best + task.count, [](const Best& a, const Best& b) {
    return a.value < b.value || (a.value == b.value && a.index > b.index);
  });
  *write<int64_t>(task.output, 1) = largest->index;
  token(step_, true) = largest->index;
}

namespace {

/// The task of so many steps later, on counters of its own.
Task moved(Task task, int32_t counters) {
  task.signal += counters;
  for (Wait& wait : task.waits) {
    if (wait.counter >= 0) wait.counter += counters;
  }
  return task;
}

/// What a multiprocessor's copying warp does for a task: it waits for nothing but, where an earlier
/// step of the launch wrote to the cache, for all tasks that did.
Task copy_of(const Task& task, int step, const Schedule& schedule) {
  Task copy{};
  copy.kind = Kind::check;
  copy.call = task.call;
  if (task.kind == Kind::attend && step > 0) {
    copy.waits[0] = {task.signal + (step - 1) * schedule.counters, task.attend.in_stage};
  }
  return copy;
}

}  // namespace

Schedule unrolled(const Schedule& schedule, int steps, std::vector<Access>& accesses, bool waits) {
  Schedule result = schedule;
  result.tasks.clear();
  result.first.clear();
  result.counters = schedule.counters * steps + 1;  // the last one: of tasks without work
  const size_t tasks = schedule.tasks.size() * static_cast<size_t>(steps);
  std::vector<int> numbers(tasks + schedule.first.size() * static_cast<size_t>(steps));
  std::vector<int> copies(numbers.size());
  const auto add = [&](std::vector<int>& of, size_t number, const Task& task) {
    of[number] = static_cast<int>(result.tasks.size());
    result.tasks.push_back(task);
  };
  const auto each = [&](size_t sm, int step, auto&& take) {
    for (int32_t i = schedule.first[sm]; i < schedule.first[sm + 1]; ++i) {
      const auto index = static_cast<size_t>(i);
      take(index + static_cast<size_t>(step) * schedule.tasks.size(), schedule.tasks[index]);
    }
  };
  for (size_t sm = 0; sm + 1 < schedule.first.size(); ++sm) {
    result.first.push_back(static_cast<int32_t>(result.tasks.size()));
    for (int step = 0; step < steps; ++step) {
      if (step > 0) {
        Task border{};
        border.kind = Kind::check;
        border.signal = result.counters - 1;
        border.waits[0] = {schedule.following->chosen + (step - 1) * schedule.counters, 1};
        if (!waits) border.waits[0] = {};
        add(numbers, tasks + sm * static_cast<size_t>(steps) + static_cast<size_t>(step - 1),
            border);
      }
      each(sm, step, [&](size_t number, const Task& task) {
        add(numbers, number, moved(task, step * schedule.counters));
      });
    }
  }
  for (size_t sm = 0; sm + 1 < schedule.first.size(); ++sm) {
    result.first.push_back(static_cast<int32_t>(result.tasks.size()));
    for (int step = 0; step < steps; ++step) {
      each(sm, step, [&](size_t number, const Task& task) {
        if (task.kind != Kind::product && task.kind != Kind::attend) return;
        add(copies, number, copy_of(task, step, schedule));
        result.tasks.back().signal = result.counters - 1;
      });
    }
  }
  result.first.push_back(static_cast<int32_t>(result.tasks.size()));
  for (Access& access : accesses) {
    access.task = (access.copied ? copies : numbers)[static_cast<size_t>(access.task)];
  }
  return result;
}

namespace {

/// For each task the tasks that are done before it begins, whatever the order.
std::vector<std::vector<bool>> tasks_before(const Schedule& schedule) {
  const size_t count = schedule.tasks.size();
  std::vector<std::vector<int>> signals(static_cast<size_t>(schedule.counters));
  std::vector<std::vector<int>> edges(count);
  for (size_t i = 0; i < count; ++i) {
    signals[static_cast<size_t>(schedule.tasks[i].signal)].push_back(static_cast<int>(i));
  }
  for (size_t sm = 0; sm + 1 < schedule.first.size(); ++sm) {
    for (int32_t i = schedule.first[sm] + 1; i < schedule.first[sm + 1]; ++i) {
      edges[static_cast<size_t>(i)].push_back(i - 1);
    }
  }
  for (size_t i = 0; i < count; ++i) {
    for (const Wait& wait : schedule.tasks[i].waits) {
      if (wait.counter < 0) continue;
      const auto& from = signals[static_cast<size_t>(wait.counter)];
      // Fewer than all say nothing about any one of them.
      if (wait.count < static_cast<int32_t>(from.size())) continue;
      edges[i].insert(edges[i].end(), from.begin(), from.end());
    }
  }
  std::vector<std::vector<bool>> before(count, std::vector<bool>(count));
  std::vector<int> state(count);
  const std::function<void(size_t)> visit = [&](size_t i) {
    if (state[i] != 0) return;
    state[i] = 1;
    for (const int edge : edges[i]) {
      const auto from = static_cast<size_t>(edge);
      visit(from);
      before[i][from] = true;
      for (size_t k = 0; k < count; ++k) {
        if (before[from][k]) before[i][k] = true;
      }
    }
  };
  for (size_t i = 0; i < count; ++i) visit(i);
  return before;
}

}  // namespace

std::optional<std::string> find_race(const Schedule& schedule,
                                     const std::vector<Access>& accesses) {
  const auto before = tasks_before(schedule);
  for (const Access& a : accesses) {
    if (!a.write) continue;
    for (const Access& b : accesses) {
      if (a.task == b.task || a.begin >= b.end || b.begin >= a.end) continue;
      const auto i = static_cast<size_t>(a.task), k = static_cast<size_t>(b.task);
      if (before[i][k] || before[k][i]) continue;
      const auto label = [&](size_t task) {
        return schedule.labels[static_cast<size_t>(schedule.tasks[task].call)];
      };
      return fmt::format("task {} ({}) writes what task {} ({}) {}", i, label(i), k, label(k),
                         b.write ? "writes" : "reads");
    }
  }
  return std::nullopt;
}

}  // namespace ostinato::cuda::persistent
