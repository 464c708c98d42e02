#include "ostinato/base/threads.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string_view>
#include <system_error>

#include "ostinato/base/error.h"

namespace ostinato {

namespace {

// About as long as waking a sleeping thread takes: spinning longer than that never pays back.
constexpr int kSpins = 20'000;
// Less than those spins take anywhere: who wakes up for an invitation is there at one as soon
// again.
constexpr std::chrono::microseconds kSoon{150};

void pause() { __builtin_ia32_pause(); }

/// Waits until `flag` differs from `old_value`: spinning first, then asleep.
template <typename T>
void wait_while_equal(const std::atomic<T>& flag, T old_value) {
  for (int i = 0; i < kSpins; ++i) {
    if (flag.load(std::memory_order_acquire) != old_value) return;
    pause();
  }
  flag.wait(old_value, std::memory_order_acquire);
}

std::atomic<const OpenMp*> shared_runtime{nullptr};

/// The runtime whose threads a team of that size works on, or null.
const OpenMp* runtime_for(int threads) {
  const OpenMp* runtime = shared_runtime.load(std::memory_order_acquire);
  // Another number would have it end threads and start them again at every change.
  return threads > 1 && runtime != nullptr && runtime->max_threads() == threads ? runtime : nullptr;
}

/// Runs a job on the runtime's threads; false, and nothing is done, where it gives fewer, as it
/// does within a parallel region of its own.
bool run_on(const OpenMp& runtime, int threads, ThreadTeam::Job job, void* context) {
  struct Call {
    const OpenMp& runtime;
    int threads;
    ThreadTeam::Job job;
    void* context;
    std::atomic<bool> refused{false};
  } call{runtime, threads, job, context};
  const auto body = [](void* data) {
    auto& self = *static_cast<Call*>(data);
    if (self.runtime.thread_count() != self.threads) {
      self.refused.store(true, std::memory_order_relaxed);
    } else {
      self.job(self.context, {self.runtime.thread_index(), self.threads});
    }
  };
  runtime.parallel(body, &call, static_cast<unsigned>(threads), 0);
  return !call.refused.load(std::memory_order_relaxed);
}

}  // namespace

void share_threads_of(const OpenMp* runtime) {
  shared_runtime.store(runtime, std::memory_order_release);
}

Range part_of(int64_t total, Worker worker, int64_t grain) {
  const int64_t grains = (total + grain - 1) / grain;
  const int64_t each = grains / worker.count;
  const int64_t extra = grains % worker.count;
  const int64_t begin = worker.index * each + std::min<int64_t>(worker.index, extra);
  const int64_t end = begin + each + (worker.index < extra);
  return {std::min(begin * grain, total), std::min(end * grain, total)};
}

int64_t Share::take(bool first) {
  uint64_t rest = rest_.load(std::memory_order_relaxed), left = 0;
  int64_t item = 0;
  do {
    const uint64_t begin = rest >> 32, end = rest & 0xffffffff;
    if (begin >= end) return -1;
    item = static_cast<int64_t>(first ? begin : end - 1);
    left = first ? (begin + 1) << 32 | end : begin << 32 | (end - 1);
  } while (!rest_.compare_exchange_weak(rest, left, std::memory_order_relaxed));
  return item;
}

ThreadTeam::ThreadTeam(int threads) : size_(threads) {
  if (runtime_for(threads) == nullptr) assemble();
}

void ThreadTeam::assemble() {
  crew_.reserve(static_cast<size_t>(size_ - 1));
  try {
    for (int i = 1; i < size_; ++i) crew_.emplace_back([this, i] { serve(i); });
  } catch (const std::system_error& error) {
    const size_t started = crew_.size() + 1;
    dismiss();
    fail(ErrorCode::out_of_memory, "base/threads",
         "Use fewer threads (--threads, OSTINATO_THREADS), or raise the limits (ulimit -u, -v).",
         "expected {} threads, got {}: {}", size_, started, error.code().message());
  }
}

ThreadTeam::~ThreadTeam() { dismiss(); }

void ThreadTeam::dismiss() {
  stop_.store(true, std::memory_order_relaxed);
  calls_.fetch_add(1, std::memory_order_release);
  calls_.notify_all();
  for (std::thread& member : crew_) member.join();
}

void ThreadTeam::run(Job job, void* context) {
  const OpenMp* runtime = runtime_for(size_);
  if (runtime != nullptr && run_on(*runtime, size_, job, context)) return;
  if (size_ > 1) {
    if (crew_.empty()) assemble();
    job_ = job;
    context_ = context;
    unfinished_.store(static_cast<int>(crew_.size()), std::memory_order_relaxed);
    const uint32_t calls = calls_.load(std::memory_order_relaxed);
    calls_.store(calls + 1 + calls % 2, std::memory_order_release);
    calls_.notify_all();
  }
  job(context, {0, size()});
  for (int left; (left = unfinished_.load(std::memory_order_acquire)) != 0;) {
    wait_while_equal(unfinished_, left);
  }
}

void ThreadTeam::invite(Job job, void* context) {
  if (crew_.empty() || runtime_for(size_) != nullptr) return job(context, {0, size()});
  job_ = job;
  context_ = context;
  guests_.store(0, std::memory_order_release);
  const uint32_t calls = calls_.load(std::memory_order_relaxed);
  calls_.store(calls + 2 - calls % 2, std::memory_order_release);
  if (std::chrono::steady_clock::now() - invited_ < kSoon) calls_.notify_all();
  job(context, {0, size()});
  guests_.fetch_add(kShut, std::memory_order_acq_rel);
  for (int left; (left = guests_.load(std::memory_order_acquire)) != kShut;) {
    wait_while_equal(guests_, left);
  }
  invited_ = std::chrono::steady_clock::now();
}

void ThreadTeam::serve(int index) {
  for (uint32_t seen = 0;;) {
    wait_while_equal(calls_, seen);
    seen = calls_.load(std::memory_order_acquire);  // invitations may have been missed
    if (stop_.load(std::memory_order_relaxed)) return;
    if (seen % 2 == 0) {
      visit(index);
      continue;
    }
    job_(context_, {index, size()});
    if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished_.notify_one();
  }
}

void ThreadTeam::visit(int index) {
  int guests = guests_.load(std::memory_order_relaxed);
  do {
    if (guests < 0) return;
  } while (!guests_.compare_exchange_weak(guests, guests + 1, std::memory_order_acq_rel));
  job_(context_, {index, size()});
  if (guests_.fetch_sub(1, std::memory_order_acq_rel) - 1 == kShut) guests_.notify_one();
}

void Barrier::wait(int workers) {
  if (workers == 1) return;
  const uint32_t round = rounds_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == workers) {
    arrived_.store(0, std::memory_order_relaxed);
    rounds_.store(round + 1, std::memory_order_release);
    rounds_.notify_all();
  } else {
    wait_while_equal(rounds_, round);
  }
}

int default_threads() {
  if (const char* text = std::getenv("OSTINATO_THREADS"); text != nullptr && *text != '\0') {
    const std::string_view value = text;
    int threads = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), threads);
    if (error != std::errc() || end != value.data() + value.size() || threads < 1 ||
        threads > 1024) {
      fail(ErrorCode::invalid_argument, "base/threads",
           "Set OSTINATO_THREADS to a number from 1 to 1024, or unset it.",
           "expected a number of threads in OSTINATO_THREADS, got '{}'", value);
    }
    return threads;
  }
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace ostinato
