#include "ostinato/device/cuda/kernels/persistent_attention.cuh"

/// A whole decoding step in one launch, or several: each block takes the tasks of its list in
/// order, and waits by counters for those of other blocks. All blocks must run at once.
namespace ostinato::cuda::persistent {

namespace {

constexpr int kTaskWords = sizeof(Task) / 4;
static_assert(sizeof(Task) % 8 == 0 && kTaskWords <= kConsumers);

#if defined(OSTINATO_EMULATED) || __CUDA_ARCH__ >= 900

/// Where a task and the one after it stand, and the barriers.
struct Fixed {
  alignas(16) uint32_t tasks[2][kTaskWords];
  float shares[kConsumerWarps];
  Barrier full[kMostStages], empty[kMostStages];
};

static_assert(sizeof(Fixed) <= kFixedBytes);

struct Queue {
  const Task* tasks;
  int first, last;
  int32_t* counters;
  Times* times;  // null where nobody asks for them
};

__device__ Queue queue_of(const Operands& operands, const Launched& params) {
  char* memory = static_cast<char*>(operands.at[0]);
  const auto* first = reinterpret_cast<const int32_t*>(memory + params.first) + blockIdx.x;
  return {reinterpret_cast<const Task*>(memory + params.tasks), first[0], first[1],
          reinterpret_cast<int32_t*>(memory + params.counters),
          params.times == 0 ? nullptr : reinterpret_cast<Times*>(memory + params.times)};
}

__device__ void wait_until(const int32_t* counter, int32_t count) {
  while (acquire(counter) < count) pause();
}

__device__ bool stops_at(const Launched& params, int64_t token) {
  for (int i = 0; i < params.stop_count; ++i) {
    if (token == params.stops[i]) return true;
  }
  return false;
}

/// Copies what all tasks of a block's list read of weights and caches, in their order, as soon as
/// there is room, whether or not their turn has come, and step after step. It runs ahead into a
/// step whose token has not been chosen, and which a stop token would leave out.
struct Loader {
  Block& block;
  const Launched& params;
  const Queue& queue;
  bool certain = true;  // that the step runs
  int ahead = 0;        // stages filled before that was certain

  __device__ void load_all() {
    while (load_step() && runs() && block.step + 1 < params.steps) {
      ++block.step;
      certain = false;
      ahead = 0;
    }
    drain();
  }

  __device__ bool load_step() {
    for (int i = queue.first; i < queue.last; ++i) {
      const Task& task = queue.tasks[i];
      if (task.kind == Kind::product && !load(task.product)) return false;
      if (task.kind == Kind::attend && !load(task.attend, task.signal)) return false;
    }
    return true;
  }

  /// Whether the step runs, known when its token has been chosen.
  __device__ bool runs() {
    if (certain) return true;
    wait_until(queue.counters + params.chosen, block.step);
    return certain = !stops_at(params, __ldcg(block.tokens + block.step - 1));
  }

  __device__ bool load(const Product& task) {
    const int units = task.rows * task.segments, per_stage = units_per_stage(task);
    const int64_t bytes = static_cast<int64_t>(task.depth / task.segments) * 2;
    const char *first = block.at(task.weights[0]), *second = block.at(task.weights[1]);
    for (int begin = 0; begin < units; begin += per_stage) {
      const int count = min(per_stage, units - begin);
      if (!fill(first + begin * bytes, second == nullptr ? nullptr : second + begin * bytes,
                static_cast<uint32_t>(count * bytes))) {
        return false;
      }
    }
    return true;
  }

  /// Keys and values of earlier steps: before the launch, or of one whose tasks that write to this
  /// cache are done. No task of this step writes them.
  __device__ bool load(const Attend& task, int32_t signal) {
    const int64_t position = position_of(block, task.position);
    if (position < 0 || position >= task.capacity) return true;
    if (block.step > 0) {
      wait_until(queue.counters + signal, block.step * task.in_stage);
      acquire_for_copies();
    }
    const Keys keys = keys_of(position, task.window, task.splits, task.split);
    const int per_stage = keys_per_stage(task);
    const int64_t bytes = static_cast<int64_t>(task.head_dim) * 2;
    const char *first = block.at(task.key_cache), *second = block.at(task.value_cache);
    for (int64_t begin = keys.begin; begin < keys.end; begin += per_stage) {
      const int64_t count = min(static_cast<int64_t>(per_stage), keys.end - begin);
      if (!fill(first + begin * bytes, second + begin * bytes,
                static_cast<uint32_t>(count * bytes))) {
        return false;
      }
    }
    return true;
  }

  /// A stage, once the bytes in it have been used. Those of steps that run always are, and so a
  /// whole ring can be filled for the next step before it is known to run.
  /// @return false where it does not run
  __device__ bool fill(const char* first, const char* second, uint32_t bytes) {
    Ring& ring = block.ring;
    if (!certain && ahead++ == ring.count && !runs()) return false;
    Barrier& full = ring.full[ring.slot];
    wait(ring.empty[ring.slot], ring.parity ^ 1);
    arrive_and_expect(full, second != nullptr ? 2 * bytes : bytes);
    bulk_copy(ring.stage(), first, bytes, full);
    if (second != nullptr) bulk_copy(ring.stage() + kStageBytes / 2, second, bytes, full);
    ring.next();
    return true;
  }

  /// Until nothing is on its way into shared memory: a block must not end before.
  __device__ void drain() {
    const Ring& ring = block.ring;
    for (int i = 0; i < ring.count; ++i) {
      wait(ring.full[i], i < ring.slot ? ring.parity : ring.parity ^ 1);
    }
  }
};

/// For the consumers, whether another step follows, known when the token has been chosen; by then
/// all tasks that write are done.
__device__ bool follow(Block& block, const Launched& params, const Queue& queue) {
  if (block.step + 1 == params.steps) return false;
  if (threadIdx.x == 0) wait_until(queue.counters + params.chosen, block.step + 1);
  sync_consumers();
  if (stops_at(params, __ldcg(block.tokens + block.step))) return false;
  ++block.step;
  return true;
}

__device__ void wait_for(const Task& task, const int32_t* counters, int step) {
  if (threadIdx.x == 0) {
    for (const Wait& wait : task.waits) {
      if (wait.counter >= 0) wait_until(counters + wait.counter, (step + 1) * wait.count);
    }
  }
  sync_consumers();
}

template <typename T>
__device__ void run(Block& block, const Task& task) {
  block.node = task.node;
  switch (task.kind) {
    case Kind::check:
      within(block, *block.at<const int64_t>(task.check.index), task.check.limit);
      break;
    case Kind::embed: embed<T>(block, task.embed); break;
    case Kind::product: product<T>(block, task.product); break;
    case Kind::attend: attend<T>(block, task.attend); break;
    case Kind::pick: pick(block, task.pick); break;
  }
}

/// The consumers' side of a step.
template <typename T>
__device__ void run_all(Block& block, const Queue& queue, Fixed& fixed) {
  const int thread = static_cast<int>(threadIdx.x);
  const auto word_of = [&](int i) {
    return i < queue.last && thread < kTaskWords
               ? reinterpret_cast<const uint32_t*>(queue.tasks + i)[thread]
               : 0u;
  };
  if (thread < kTaskWords) fixed.tasks[queue.first & 1][thread] = word_of(queue.first);
  sync_consumers();
  for (int i = queue.first; i < queue.last; ++i) {
    const Task& task = *reinterpret_cast<const Task*>(fixed.tasks[i & 1]);
    const uint32_t next = word_of(i + 1);  // on its way while this one runs
    const bool timed = queue.times != nullptr && thread == 0;
    if (timed) queue.times[i].turn = now();
    wait_for(task, queue.counters, block.step);
    if (timed) queue.times[i].begin = now();
    run<T>(block, task);
    if (thread < kTaskWords) fixed.tasks[(i + 1) & 1][thread] = next;
    sync_consumers();
    if (thread != 0) continue;
    if (timed) queue.times[i].end = now();
    __threadfence();
    release_one(queue.counters + task.signal);
  }
}

/// The last block to be done leaves the counters as the next launch expects them, and, if the
/// caller wants that, token and position as the next step takes them.
__device__ void leave(const Block& block, const Launched& params, const Queue& queue, int steps) {
  int32_t* done = queue.counters + params.counter_count;
  __threadfence();
  if (atomicAdd(done, 1) != static_cast<int>(gridDim.x) - 1) return;
  __threadfence();
  for (int i = 0; i <= params.counter_count; ++i) queue.counters[i] = 0;
  if (block.operands.at[kSeen] == nullptr || steps == 0) return;
  *static_cast<int64_t*>(block.operands.at[kNextToken]) = __ldcg(block.tokens + steps - 1);
  *static_cast<int64_t*>(block.operands.at[kNextPosition]) += steps;
}

template <typename T>
__device__ void step(const Operands& operands, const Launched& params) {
  char* const shared = shared_memory();
  char* const vector = shared + params.stages * kStageBytes;
  auto* const sums = reinterpret_cast<float*>(vector + params.vector_bytes);
  Fixed& fixed = *reinterpret_cast<Fixed*>(sums + kSums);
  if (threadIdx.x == 0) {
    for (int i = 0; i < params.stages; ++i) {
      init(fixed.full[i], 1);
      init(fixed.empty[i], kConsumerWarps);
    }
    publish_barriers();
  }
  __syncthreads();
  Block block{operands,
              vector,
              sums,
              fixed.shares,
              Ring{shared, fixed.full, fixed.empty, params.stages},
              reinterpret_cast<int64_t*>(static_cast<char*>(operands.at[0]) + params.tokens)};
  const Queue queue = queue_of(operands, params);
  // A launch that was queued before the host had seen the stop token has nothing to do.
  const bool begins = operands.at[kSeen] == nullptr ||
                      !stops_at(params, *static_cast<const int64_t*>(operands.at[kNextToken]));
  if (begins && threadIdx.x >= kConsumers) {
    if (threadIdx.x == kConsumers) Loader{block, params, queue}.load_all();
  } else if (begins) {
    do {
      run_all<T>(block, queue, fixed);
    } while (follow(block, params, queue));
  }
  __syncthreads();  // the loader has read the position for the last time
  if (threadIdx.x == 0) leave(block, params, queue, begins ? block.step + 1 : 0);
}

#else

/// Bulk copies begin with compute capability 9.0; the device launches this on no other.
template <typename T>
__device__ void step(const Operands&, const Launched&) {
  __trap();
}

#endif

}  // namespace

OSTINATO_KERNEL(persistent_bfloat16, kThreads, Launched) { step<bf16>(operands, params); }
OSTINATO_KERNEL(persistent_float16, kThreads, Launched) { step<f16>(operands, params); }

}  // namespace ostinato::cuda::persistent
