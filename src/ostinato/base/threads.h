#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <thread>
#include <vector>

namespace ostinato {

/// One of the threads that work on the same thing.
struct Worker {
  int index = 0;
  int count = 1;
};

/// The part of [0, total) that falls to a worker when it is cut into equal pieces, each a multiple
/// of `grain` but for the last.
struct Range {
  int64_t begin, end;
};
Range part_of(int64_t total, Worker worker, int64_t grain = 1);

/// Items of work that are one worker's own until another has none left: their owner takes them from
/// the front, the others from the back, so that nobody waits long for a thread that is held up.
class alignas(64) Share {
 public:
  /// Before any worker begins.
  /// @param items fewer than 2³²
  void deal(int64_t items) { rest_.store(static_cast<uint64_t>(items), std::memory_order_relaxed); }

  /// The next item, each given once; -1 when there is none left.
  int64_t take_first() { return take(true); }
  int64_t take_last() { return take(false); }

 private:
  int64_t take(bool first);

  std::atomic<uint64_t> rest_{0};  // the first in the upper half, the end in the lower
};

/// An OpenMP runtime that something else in the process works with. Its idle threads spin for
/// milliseconds; a team with threads of its own would share the processors with them.
struct OpenMp {
  void (*parallel)(void (*body)(void*), void* data, unsigned threads, unsigned flags);
  int (*max_threads)();
  int (*thread_count)();
  int (*thread_index)();
};

/// Lets teams of as many threads as that runtime uses by default work on its threads, from now on.
/// Null for none. What it points to must live as long as any team.
void share_threads_of(const OpenMp* runtime);

/// Where workers wait for each other, again and again.
class Barrier {
 public:
  /// Returns when so many have come here.
  void wait(int workers);

 private:
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<uint32_t> rounds_{0};  // that all have passed
};

/// A fixed crew of threads, the caller among them. `run` takes no lock: waiting threads spin for a
/// while, then sleep until they are called. Used by one thread at a time.
class ThreadTeam {
 public:
  /// @param threads all workers, the caller included; at least 1
  explicit ThreadTeam(int threads);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return size_; }

  using Job = void (*)(void* context, Worker worker);

  /// Calls `job(context, worker)` once on every worker and returns when all are done. The job must
  /// not throw.
  void run(Job job, void* context);

  template <typename F>
  void run(F&& f) {
    run([](void* context, Worker worker) { (*static_cast<F*>(context))(worker); }, &f);
  }

  /// Calls the job on the caller and on whoever of the crew comes before the caller is done, maybe
  /// more than once; returns when all who came are done. It waits for nobody to wake up: sleeping
  /// threads are called only where invitations follow one another so fast that the crew will still
  /// be awake at the next, and threads of another runtime never. The job must not throw.
  void invite(Job job, void* context);

  template <typename F>
  void invite(F&& f) {
    invite([](void* context, Worker worker) { (*static_cast<F*>(context))(worker); }, &f);
  }

  /// Within a job of `run`: waits until every worker of the team has come here.
  void barrier() { barrier_.wait(size_); }

 private:
  void assemble();  ///< starts the crew
  void serve(int index);
  void visit(int index);  ///< takes part in an invitation, if it is open still
  void dismiss();         ///< ends and joins the crew

  static constexpr int kShut = std::numeric_limits<int>::min() / 2;

  const int size_;
  std::vector<std::thread> crew_;  // empty while another runtime's threads do the work
  Job job_ = nullptr;
  void* context_ = nullptr;
  std::chrono::steady_clock::time_point invited_{};  // when the last invitation was over
  // Each on a cache line of its own: workers spin on them.
  alignas(64) std::atomic<uint32_t> calls_{0};  // rises; odd for a run, even for an invitation
  alignas(64) std::atomic<int> unfinished_{0};  // crew members still in the job of a run
  alignas(64) std::atomic<int> guests_{kShut};  // in the job of an invitation; shut: negative
  Barrier barrier_;
  std::atomic<bool> stop_{false};
};

/// How many threads to use when nobody says: `OSTINATO_THREADS`, else the processors that this
/// process may run on. Throws `invalid_argument` for a value that is not a positive integer.
int default_threads();

}  // namespace ostinato
