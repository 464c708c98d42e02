#pragma once

#include "ostinato/device/cuda/kernels/persistent.cuh"

/// Attention tasks: queries of one head of keys against a part of its cache. Eight lanes take a key
/// together, so that a warp takes four and few exchanges are needed.
namespace ostinato::cuda::persistent {

constexpr int kLanesToKey = 8;
constexpr int kKeysToWarp = kWarp / kLanesToKey;
static_assert(kKeysToWarp * kConsumerWarps == kKeysAtOnce);
constexpr int kChunks = kMostHeadDim / (8 * kLanesToKey);  // of eight elements, to a lane
constexpr int kEach = kMostHeadDim / kWarp;

/// Shared memory of a task, in the place of partial sums.
template <typename T>
struct AttendMemory {
  alignas(16) float queries[kMostHeads][kMostHeadDim];
  alignas(16) T key[kMostHeadDim];
  alignas(16) T value[kMostHeadDim];
  float merged[kConsumerWarps][kMostHeadDim + 2];
};
static_assert(sizeof(AttendMemory<bf16>) <= kSums * sizeof(float));

/// A head's norm and rotary embedding, by a warp; `to` gets them as floats.
template <typename T>
__device__ void turn(const Block& block, const Attend& task, const T* row, const Ref& weight_at,
                     int64_t position, float* to) {
  const int lane = Thread().lane;
  const T* weight = block.at<const T>(weight_at);
  float x[kEach], squares = 0;
  OSTINATO_UNROLL
  for (int j = 0; j < kEach; ++j) {
    const int i = lane + j * kWarp;
    x[j] = i < task.head_dim ? load_shared_result(row + i) : 0.0f;
    squares += x[j] * x[j];
  }
  if (task.normed != 0) {
    const float mean = warp_reduce(squares, Sum()) / static_cast<float>(task.head_dim);
    const float scale = rsqrtf(mean + task.eps);
    OSTINATO_UNROLL
    for (int j = 0; j < kEach; ++j) {
      const int i = lane + j * kWarp;
      x[j] = rounded<T>(x[j] * scale);
      if (weight != nullptr && i < task.head_dim) x[j] = rounded<T>(x[j] * to_float(weight[i]));
    }
  }
  OSTINATO_UNROLL
  for (int j = 0; j < kEach; ++j) {
    if (lane + j * kWarp < task.head_dim) to[lane + j * kWarp] = x[j];
  }
  __syncwarp();
  const T* cos = block.at<const T>(task.cos) + position * task.rotated;
  const T* sin = block.at<const T>(task.sin) + position * task.rotated;
  const int half = task.rotated / 2;
  OSTINATO_UNROLL
  for (int j = 0; j < kEach; ++j) {
    const int i = lane + j * kWarp;
    if (i >= task.rotated) continue;
    const bool first = task.interleaved != 0 ? i % 2 == 0 : i < half;
    const int partner = task.interleaved != 0 ? i ^ 1 : first ? i + half : i - half;
    const float other = to[partner];
    x[j] = rounded<T>(x[j] * to_float(cos[i]) + (first ? -other : other) * to_float(sin[i]));
  }
  __syncwarp();
  OSTINATO_UNROLL
  for (int j = 0; j < kEach; ++j) {
    if (lane + j * kWarp < task.rotated) to[lane + j * kWarp] = x[j];
  }
  __syncwarp();
}

/// The queries, a warp to each; and of the first split this step's key and value, which it writes
/// to the caches.
template <typename T>
__device__ void prepare(const Block& block, const Attend& task, int64_t position,
                        AttendMemory<T>& memory) {
  const Thread thread;
  const int dim = task.head_dim;
  if (thread.warp < task.heads) {
    float* to = memory.queries[thread.warp];
    const T* row = block.at<const T>(task.query) + thread.warp * dim;
    turn(block, task, row, task.query_weight, position, to);
    for (int i = thread.lane; i < dim; i += kWarp) to[i] *= task.scale;
  }
  if (task.split != 0) return;
  if (thread.warp == kMostHeads) {
    float* to = memory.merged[0];
    turn(block, task, block.at<const T>(task.key), task.key_weight, position, to);
    T* cache = block.at<T>(task.key_cache) + position * dim;
    for (int i = thread.lane; i < dim; i += kWarp) {
      memory.key[i] = from_float<T>(to[i]);
      if (task.writes != 0) cache[i] = memory.key[i];
    }
  }
  if (thread.warp == kMostHeads + 1) {
    T* cache = block.at<T>(task.value_cache) + position * dim;
    for (int i = thread.lane; i < dim; i += kWarp) {
      memory.value[i] = from_float<T>(load_shared_result(block.at<const T>(task.value) + i));
      if (task.writes != 0) cache[i] = memory.value[i];
    }
  }
}

/// What eight lanes have seen of each query's keys, relative to the largest score.
struct Seen {
  float largest[kMostHeads], divisor[kMostHeads];
  float sums[kMostHeads][kChunks][8];

  __device__ Seen() {
    OSTINATO_UNROLL
    for (int h = 0; h < kMostHeads; ++h) {
      largest[h] = -INFINITY;
      divisor[h] = 0;
      OSTINATO_UNROLL
      for (int c = 0; c < kChunks; ++c) {
        OSTINATO_UNROLL
        for (int i = 0; i < 8; ++i) sums[h][c][i] = 0;
      }
    }
  }

  /// @param active whether these lanes have a key; the whole warp comes here either way
  template <typename T>
  __device__ void see(const AttendMemory<T>& memory, int heads, int chunks, const T* key,
                      const T* value, bool active) {
    const int lane = Thread().lane % kLanesToKey;
    float scores[kMostHeads] = {};
    OSTINATO_UNROLL
    for (int c = 0; c < kChunks; ++c) {
      const int chunk = lane + c * kLanesToKey;
      if (!active || chunk >= chunks) continue;
      const auto pack = reinterpret_cast<const Pack<T>*>(key)[chunk];
      OSTINATO_UNROLL
      for (int h = 0; h < kMostHeads; ++h) {
        if (h >= heads) break;
        OSTINATO_UNROLL
        for (int i = 0; i < 8; ++i) {
          scores[h] += memory.queries[h][chunk * 8 + i] * to_float(pack.values[i]);
        }
      }
    }
    float keep[kMostHeads], take[kMostHeads];
    OSTINATO_UNROLL
    for (int h = 0; h < kMostHeads; ++h) {
      if (h >= heads) break;
      float score = scores[h];
      OSTINATO_UNROLL
      for (int step = kLanesToKey / 2; step > 0; step /= 2) {
        score += __shfl_xor_sync(kAllLanes, score, step);
      }
      if (!active) continue;
      const float now = fmaxf(largest[h], score);
      keep[h] = expf(largest[h] - now);
      take[h] = expf(score - now);
      divisor[h] = divisor[h] * keep[h] + take[h];
      largest[h] = now;
    }
    OSTINATO_UNROLL
    for (int c = 0; c < kChunks; ++c) {
      const int chunk = lane + c * kLanesToKey;
      if (!active || chunk >= chunks) continue;
      const auto pack = reinterpret_cast<const Pack<T>*>(value)[chunk];
      OSTINATO_UNROLL
      for (int h = 0; h < kMostHeads; ++h) {
        if (h >= heads) break;
        OSTINATO_UNROLL
        for (int i = 0; i < 8; ++i) {
          sums[h][c][i] = sums[h][c][i] * keep[h] + take[h] * to_float(pack.values[i]);
        }
      }
    }
  }
};

/// One query's share of every warp, and of its lanes, put together and written.
template <typename T>
__device__ void merge(const Block& block, const Attend& task, AttendMemory<T>& memory, int head,
                      float largest, float divisor, const float (&sums)[kChunks][8]) {
  const Thread thread;
  const int dim = task.head_dim;
  float of_warp = largest;
  OSTINATO_UNROLL
  for (int step = kWarp / 2; step >= kLanesToKey; step /= 2) {
    of_warp = fmaxf(of_warp, __shfl_xor_sync(kAllLanes, of_warp, step));
  }
  const float factor = largest == -INFINITY ? 0.0f : expf(largest - of_warp);
  const auto over_keys = [&](float value) {
    value *= factor;
    OSTINATO_UNROLL
    for (int step = kWarp / 2; step >= kLanesToKey; step /= 2) {
      value += __shfl_xor_sync(kAllLanes, value, step);
    }
    return value;
  };
  float* row = memory.merged[thread.warp];
  OSTINATO_UNROLL
  for (int c = 0; c < kChunks; ++c) {
    OSTINATO_UNROLL
    for (int i = 0; i < 8; ++i) {
      const float sum = over_keys(sums[c][i]);
      const int element = (thread.lane + c * kLanesToKey) * 8 + i;
      if (thread.lane < kLanesToKey && element < dim) row[element] = sum;
    }
  }
  divisor = over_keys(divisor);
  if (thread.lane == 0) {
    row[dim] = of_warp;
    row[dim + 1] = divisor;
  }
  sync_consumers();
  if (thread.index <= dim) {
    float all = -INFINITY, sum = 0;
    for (int w = 0; w < kConsumerWarps; ++w) all = fmaxf(all, memory.merged[w][dim]);
    const int element = thread.index < dim ? thread.index : dim + 1;
    for (int w = 0; w < kConsumerWarps; ++w) {
      const float own = memory.merged[w][dim];
      if (own != -INFINITY) sum += memory.merged[w][element] * expf(own - all);
    }
    const int64_t part = static_cast<int64_t>(task.first_head + head) * task.splits + task.split;
    float* to = block.at<float>(task.partial) + part * (dim + 2);
    to[element] = sum;
    if (thread.index == dim) to[dim] = all;
  }
  sync_consumers();  // before the next query's
}

template <typename T>
__device__ void attend(Block& block, const Attend& task) {
  const Thread thread;
  AttendMemory<T>& memory = *reinterpret_cast<AttendMemory<T>*>(block.sums);
  const int64_t position = within(block, position_of(block, task.position), task.capacity);
  if (position < 0) return;
  const int dim = task.head_dim, chunks = dim / 8;
  prepare(block, task, position, memory);
  sync_consumers();
  Seen seen;
  const int own = thread.lane / kLanesToKey;
  const Keys keys = keys_of(position, task.window, task.splits, task.split);
  const int per_stage = keys_per_stage(task);
  for (int64_t begin = keys.begin; begin < keys.end; begin += per_stage) {
    const int count = static_cast<int>(min(static_cast<int64_t>(per_stage), keys.end - begin));
    wait(block.ring.full[block.ring.slot], block.ring.parity);
    const T* stage = reinterpret_cast<const T*>(block.ring.stage());
    const T* values = stage + kStageBytes / 2 / sizeof(T);
    for (int key = thread.warp * kKeysToWarp; key < count; key += kConsumerWarps * kKeysToWarp) {
      const int at = (key + own) * dim;
      seen.see(memory, task.heads, chunks, stage + at, values + at, key + own < count);
    }
    __syncwarp();
    if (thread.lane == 0) arrive(block.ring.empty[block.ring.slot]);
    block.ring.next();
  }
  if (task.split == 0 && thread.warp == 0) {
    seen.see(memory, task.heads, chunks, memory.key, memory.value, own == 0);
  }
  sync_consumers();  // this step's key has left the memory that shares are merged in
  OSTINATO_UNROLL
  for (int h = 0; h < kMostHeads; ++h) {
    if (h >= task.heads) break;
    merge(block, task, memory, h, seen.largest[h], seen.divisor[h], seen.sums[h]);
  }
}

}  // namespace ostinato::cuda::persistent
