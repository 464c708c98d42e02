#pragma once

#include <cstdint>

#include "ostinato/ops/activation.h"

#ifdef __CUDACC__
#define OSTINATO_BOTH __host__ __device__ inline
#else
#define OSTINATO_BOTH inline
#endif

/// What the planner of a persistent launch and its kernel agree on: plain structures in device
/// memory, read by the blocks that they are meant for.
namespace ostinato::cuda::persistent {

inline constexpr int kStageBytes = 32 << 10;  ///< of shared memory that one bulk copy fills
inline constexpr int kMostStages = 8;
/// Of shared memory beside stages, vector and sums: a task and the next, barriers.
inline constexpr int kFixedBytes = 2048;
inline constexpr int kSums = 4096;    ///< floats of a product's partial sums to a block
inline constexpr int kMostHeads = 4;  ///< query heads to an attention task
inline constexpr int kMostHeadDim = 128;
inline constexpr int kConsumerWarps = 15;
inline constexpr int kKeysAtOnce = 4 * kConsumerWarps;  ///< that a block's warps take together
inline constexpr int kKeyStep = 16;  ///< a split's keys are a multiple of so many
inline constexpr int kWaits = 2;
inline constexpr int kPointers = 8;  ///< as many as a launch takes: the first is the schedule's own
/// After those, what the last step of a launch with several leaves: places of the next token and of
/// the position, and of all tokens in memory of the host. None but for launches that feed back.
inline constexpr int kNextToken = kPointers, kNextPosition = kPointers + 1, kSeen = kPointers + 2;
inline constexpr int kMostStops = 8, kMostSteps = 8;  ///< of a launch

/// A place in memory: a pointer of the launch and an offset, an address, or nothing. What the
/// caller gives changes from launch to launch, the tasks do not.
struct Ref {
  static constexpr int32_t kNone = -1, kFixed = kPointers;
  int32_t base = kNone;
  uint64_t offset = 0;  ///< bytes; of `kFixed` the address
};

/// Until a counter has grown by `count` since the step began. Negative: no counter. In a launch of
/// several steps they go on: all tasks of a stage are waited for, and so each step adds as many.
struct Wait {
  int32_t counter = -1, count = 0;
};

enum class Kind : int32_t { check, embed, product, attend, pick };

/// An index that must be within bounds, though nothing is read by it.
struct Check {
  Ref index;  ///< int64
  int64_t limit;
};

/// A row of a table.
struct Embed {
  Ref id;  ///< int64
  Ref table, output;
  int64_t rows, width;
};

enum class Input : int32_t { plain, normed, joined };

/// A run of rows of a matrix times a vector: act(W·x + b) + residual, or with two matrices
/// act(W₀·x + b₀) · (W₁·x + b₁). The vector is read as it is, or through an RMSNorm, or joined from
/// what the splits of an attention left.
struct Product {
  Ref weights[2], biases[2];  ///< from the task's first row on
  Ref input, norm_weight, residual, output, best;
  Ref position;  ///< of `joined`
  int32_t rows, depth;
  int32_t segments;  ///< that a row is cut into, so that a warp's part is short
  int32_t matrices;
  int32_t first_row;   ///< in the result, for `best`
  int32_t keep_input;  ///< the task before on this SM left the vector in shared memory
  Input prologue;
  ops::Activation activation;
  int32_t heads, head_dim, splits, window;
  float eps;
};

/// Queries of one head of keys against a part of its cache, and before it their norm and rotary
/// embedding. The first split takes this step's key too, and writes it to the cache.
struct Attend {
  Ref query, key, value;                          ///< this step's
  Ref query_weight, key_weight;                   ///< of the norms over a head; may be none
  Ref cos, sin;                                   ///< tables, a row to each position
  Ref key_cache, value_cache, position, partial;  ///< caches: of this head of keys
  int32_t first_head, heads, head_dim, rotated;
  int32_t split, splits, capacity, window;  ///< window: -1 for none
  int32_t writes, normed, interleaved;
  int32_t in_stage;  ///< tasks of the stage: when all are done the next step may read the caches
  float scale, eps;
};

/// The largest of what the tasks of a product found, each in its rows.
struct Pick {
  Ref best, output;  ///< output: int64
  int32_t count;
};

/// The largest element of some rows, and which it is.
struct Best {
  float value;
  int32_t index;
};

struct Task {
  Kind kind;
  int32_t signal;  ///< the counter that grows by one when the task is done
  Wait waits[kWaits];
  int32_t call;      ///< which of the schedule's stages it is a part of
  const void* node;  ///< the host's: what a fault is reported for
  union {
    Check check;
    Embed embed;
    Product product;
    Attend attend;
    Pick pick;
  };
};

/// When a task's turn came, its waits were over, and it was done; nanoseconds of the GPU's clock.
struct Times {
  uint64_t turn, begin, end;
};

/// Where the parts of a schedule lie in its memory.
struct Launched {
  uint64_t tasks, first, counters;  ///< offsets in bytes; after the counters one for blocks
  uint64_t times;                   ///< of Times, one a task; zero where nobody asks for them
  uint64_t tokens;                  ///< of kMostSteps int64: what each step chose
  int64_t stops[kMostStops];        ///< after these tokens no step follows
  int32_t stop_count;
  int32_t steps;   ///< at most kMostSteps, each on the token of the one before
  int32_t chosen;  ///< the counter of the task that chooses the token, the last of its step
  int32_t counter_count;
  int32_t stages;        ///< that fit into shared memory
  int32_t vector_bytes;  ///< of shared memory, for the longest vector
};

/// Keys from `begin` to `end` of a cache.
struct Keys {
  int64_t begin, end;
};

/// The first key that a query at this position attends.
OSTINATO_BOTH int64_t first_key(int64_t position, int32_t window) {
  const int64_t first = window < 0 ? 0 : position + 1 - window;
  return first < 0 ? 0 : first;
}

/// The keys of the cache that a split reads: of those before `position`, whose own is at hand.
OSTINATO_BOTH Keys keys_of(int64_t position, int32_t window, int32_t splits, int32_t split) {
  const int64_t first = first_key(position, window), count = position - first;
  int64_t each = (count + splits - 1) / splits;
  each = (each + kKeyStep - 1) / kKeyStep * kKeyStep;
  const int64_t begin = first + split * each;
  const int64_t end = begin + each < position ? begin + each : position;
  return {begin, end > begin ? end : begin};
}

/// Splits that have keys; the first always has this step's.
OSTINATO_BOTH int32_t splits_with_keys(int64_t position, int32_t window, int32_t splits) {
  int32_t used = 1;
  for (; used < splits; ++used) {
    const Keys keys = keys_of(position, window, splits, used);
    if (keys.begin >= keys.end) break;
  }
  return used;
}

/// A product's row segments to a stage.
OSTINATO_BOTH int32_t units_per_stage(const Product& product) {
  return kStageBytes / product.matrices / (product.depth / product.segments * 2);
}

/// Keys to a stage, of which the values take the other half.
OSTINATO_BOTH int32_t keys_per_stage(const Attend& attend) {
  return kStageBytes / 2 / (attend.head_dim * 2) / kKeysAtOnce * kKeysAtOnce;
}

}  // namespace ostinato::cuda::persistent
