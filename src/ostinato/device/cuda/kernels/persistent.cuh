#pragma once

#include "ostinato/device/cuda/kernels/activation.cuh"
#include "ostinato/device/cuda/kernels/pipeline.cuh"
#include "ostinato/device/cuda/kernels/product.h"
#include "ostinato/device/cuda/persistent/task.h"

/// What the tasks of a persistent launch compute. Warps of consumers share each task, and a warp of
/// its own copies weights and keys into a ring of stages for them, far ahead.
namespace ostinato::cuda::persistent {

constexpr int kConsumers = kConsumerWarps * kWarp;
constexpr int kThreads = kConsumers + kWarp;

__device__ inline void sync_consumers() { sync_first(kConsumers); }

/// The stages of shared memory, as one of the two sides goes round them.
struct Ring {
  char* memory;
  Barrier *full, *empty;
  int count;
  int slot = 0;
  uint32_t parity = 0;

  __device__ char* stage() const { return memory + slot * kStageBytes; }
  __device__ void next() {
    if (++slot == count) {
      slot = 0;
      parity ^= 1;
    }
  }
};

/// A block's shared memory, and what the launch was given.
struct Block {
  const Operands& operands;
  char* vector;   ///< what the products of a task multiply by
  float* sums;    ///< kSums of them
  float* shares;  ///< one a warp
  Ring ring;
  int64_t* tokens;             ///< that the launch's steps chose
  const void* node = nullptr;  ///< of the task that runs
  int step = 0;                ///< of the launch

  __device__ char* at(const Ref& ref) const {
    if (ref.base == Ref::kNone) return nullptr;
    if (ref.base == Ref::kFixed) return reinterpret_cast<char*>(ref.offset);
    return static_cast<char*>(operands.at[ref.base]) + ref.offset;
  }
  template <typename T>
  __device__ T* at(const Ref& ref) const {
    return reinterpret_cast<T*>(at(ref));
  }
};

struct Thread {
  int index = static_cast<int>(threadIdx.x);
  int warp = index / kWarp, lane = index % kWarp;
};

/// Of this step: the caller's is moved on when the launch ends.
__device__ inline int64_t position_of(const Block& block, const Ref& ref) {
  return *block.at<const int64_t>(ref) + block.step;
}

/// The index, or -1 and a fault where it is out of bounds.
__device__ inline int64_t within(const Block& block, int64_t index, int64_t limit) {
  if (index >= 0 && index < limit) return index;
  if (threadIdx.x == 0) *block.operands.fault = block.node;
  return -1;
}

/// Over the consumers; every one gets it.
__device__ inline float sum_of_consumers(const Block& block, float value) {
  const Thread thread;
  value = warp_reduce(value, Sum());
  if (thread.lane == 0) block.shares[thread.warp] = value;
  sync_consumers();
  float sum = 0;
  OSTINATO_UNROLL
  for (int i = 0; i < kConsumerWarps; ++i) sum += block.shares[i];
  return sum;
}

template <typename T>
__device__ void embed(const Block& block, const Embed& task) {
  const int64_t token =
      block.step == 0 ? *block.at<const int64_t>(task.id) : __ldcg(block.tokens + block.step - 1);
  const int64_t row = within(block, token, task.rows);
  const T* from = block.at<const T>(task.table) + row * task.width;
  T* to = block.at<T>(task.output);
  for (int64_t i = threadIdx.x; i < task.width; i += kConsumers) {
    to[i] = row < 0 ? from_float<T>(0.0f) : from[i];
  }
}

/// The factors of an attention's splits, a warp to each head, so that what they left joins to one.
__device__ inline void weigh_splits(const Block& block, const Product& task, int used) {
  const Thread thread;
  const auto* parts = block.at<const float>(task.input);
  const auto largest_of = [](float a, float b) { return fmaxf(a, b); };
  for (int head = thread.warp; head < task.heads; head += kConsumerWarps) {
    const float* first =
        parts + static_cast<int64_t>(head) * task.splits * (task.head_dim + 2) + task.head_dim;
    float largest = -INFINITY, divisor = 0;
    for (int s = thread.lane; s < used; s += kWarp) {
      largest = fmaxf(largest, load_shared_result(first + s * (task.head_dim + 2)));
    }
    largest = warp_reduce(largest, largest_of);
    for (int s = thread.lane; s < used; s += kWarp) {
      const float* part = first + s * (task.head_dim + 2);
      const float factor = expf(load_shared_result(part) - largest);
      divisor += factor * load_shared_result(part + 1);
      block.sums[head * task.splits + s] = factor;
    }
    divisor = warp_reduce(divisor, Sum());
    for (int s = thread.lane; s < used; s += kWarp) {
      block.sums[head * task.splits + s] /= divisor;
    }
  }
}

template <typename T>
__device__ void join_splits(const Block& block, const Product& task) {
  const int64_t position = position_of(block, task.position);
  const int used = splits_with_keys(position, task.window, task.splits);
  weigh_splits(block, task, used);
  sync_consumers();
  const auto* parts = block.at<const float>(task.input);
  T* vector = reinterpret_cast<T*>(block.vector);
  for (int i = static_cast<int>(threadIdx.x); i < task.depth; i += kConsumers) {
    const int head = i / task.head_dim, element = i % task.head_dim;
    const float* first =
        parts + static_cast<int64_t>(head) * task.splits * (task.head_dim + 2) + element;
    float sum = 0;
    for (int s = 0; s < used; ++s) {
      sum += block.sums[head * task.splits + s] *
             load_shared_result(first + s * (task.head_dim + 2));
    }
    vector[i] = from_float<T>(sum);
  }
}

/// x as it is, or x / sqrt(mean(x²) + eps) rounded, times the weight, rounded.
template <typename T>
__device__ void read_vector(const Block& block, const Product& task) {
  using P = Pack<T>;
  const P* from = block.at<const P>(task.input);
  P* vector = reinterpret_cast<P*>(block.vector);
  const int packs = task.depth / P::kCount;
  float squares = 0;
  for (int i = static_cast<int>(threadIdx.x); i < packs; i += kConsumers) {
    const P pack = load_shared_result(from + i);
    OSTINATO_UNROLL
    for (int k = 0; k < P::kCount; ++k) {
      squares += to_float(pack.values[k]) * to_float(pack.values[k]);
    }
    vector[i] = pack;
  }
  if (task.prologue != Input::normed) return;
  const float mean = sum_of_consumers(block, squares) / static_cast<float>(task.depth);
  const float scale = rsqrtf(mean + task.eps);
  const P* weights = block.at<const P>(task.norm_weight);
  for (int i = static_cast<int>(threadIdx.x); i < packs; i += kConsumers) {
    P pack = vector[i];
    OSTINATO_UNROLL
    for (int k = 0; k < P::kCount; ++k) {
      pack.values[k] = from_float<T>(to_float(pack.values[k]) * scale);
    }
    if (weights != nullptr) {
      const P weight = weights[i];
      OSTINATO_UNROLL
      for (int k = 0; k < P::kCount; ++k) {
        pack.values[k] = from_float<T>(to_float(pack.values[k]) * to_float(weight.values[k]));
      }
    }
    vector[i] = pack;
  }
}

/// A warp's share of a row by the vector; every lane gets it.
template <typename T>
__device__ float dot(const Pack<T>* weights, const Pack<T>* vector, int packs, int lane) {
  float sum = 0;
  OSTINATO_UNROLL_4
  for (int i = lane; i < packs; i += kWarp) {
    const Pack<T> a = weights[i], b = vector[i];
    OSTINATO_UNROLL
    for (int k = 0; k < Pack<T>::kCount; ++k) sum += to_float(a.values[k]) * to_float(b.values[k]);
  }
  return warp_reduce(sum, Sum());
}

/// The partial sums of all rows' segments, as the stages come in; each by the warp whose turn it
/// is, so that no warp waits for another within a stage.
template <typename T>
__device__ void multiply(Block& block, const Product& task) {
  using P = Pack<T>;
  const Thread thread;
  const int units = task.rows * task.segments, per_stage = units_per_stage(task);
  const int packs = task.depth / task.segments / P::kCount;
  const P* vector = reinterpret_cast<const P*>(block.vector);
  for (int begin = 0; begin < units; begin += per_stage) {
    const int count = min(per_stage, units - begin);
    wait(block.ring.full[block.ring.slot], block.ring.parity);
    const P* stage = reinterpret_cast<const P*>(block.ring.stage());
    const P* second = stage + kStageBytes / 2 / sizeof(P);
    const int first = (thread.warp - begin % kConsumerWarps + kConsumerWarps) % kConsumerWarps;
    for (int unit = first; unit < count; unit += kConsumerWarps) {
      const P* segment = vector + (begin + unit) % task.segments * packs;
      const int at = (begin + unit) * task.matrices;
      const float sum = dot(stage + unit * packs, segment, packs, thread.lane);
      if (thread.lane == 0) block.sums[at] = sum;
      if (task.matrices == 1) continue;
      const float gated = dot(second + unit * packs, segment, packs, thread.lane);
      if (thread.lane == 0) block.sums[at + 1] = gated;
    }
    __syncwarp();
    if (thread.lane == 0) arrive(block.ring.empty[block.ring.slot]);
    block.ring.next();
  }
}

/// Whether `a` comes before `b` in argmax: NaN before all, of equals the first.
__device__ inline bool comes_before(const Best& a, const Best& b) {
  const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
  if (a_nan != b_nan) return a_nan;
  if (a_nan || a.value == b.value) return a.index < b.index;
  return a.value > b.value;
}

/// Over the warp's lanes; every lane gets it.
__device__ inline Best best_of_warp(Best best) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const Best other{__shfl_xor_sync(kAllLanes, best.value, step),
                     __shfl_xor_sync(kAllLanes, best.index, step)};
    if (comes_before(other, best)) best = other;
  }
  return best;
}

constexpr int kNoIndex = 0x7fffffff;

/// Rows from their partial sums, a thread to a row.
template <typename T>
__device__ void finish_rows(const Block& block, const Product& task) {
  const T *bias = block.at<const T>(task.biases[0]), *second = block.at<const T>(task.biases[1]);
  const T* residual = block.at<const T>(task.residual);
  T* output = block.at<T>(task.output);
  Best best{-INFINITY, kNoIndex};
  for (int row = static_cast<int>(threadIdx.x); row < task.rows; row += kConsumers) {
    float sums[2] = {0, 0};
    for (int s = 0; s < task.segments; ++s) {
      const int at = (row * task.segments + s) * task.matrices;
      sums[0] += block.sums[at];
      if (task.matrices == 2) sums[1] += block.sums[at + 1];
    }
    if (bias != nullptr) sums[0] += to_float(bias[row]);
    if (second != nullptr) sums[1] += to_float(second[row]);
    float value = activated(sums[0], task.activation);
    if (task.matrices == 2) value *= sums[1];
    if (residual != nullptr) value += load_shared_result(residual + row);
    const T kept = from_float<T>(value);
    output[row] = kept;
    const Best own{to_float(kept), task.first_row + row};
    if (comes_before(own, best)) best = own;
  }
  if (task.best.base == Ref::kNone) return;
  const Thread thread;
  best = best_of_warp(best);
  sync_consumers();  // the partial sums have been read
  Best* warps = reinterpret_cast<Best*>(block.sums);
  if (thread.lane == 0) warps[thread.warp] = best;
  sync_consumers();
  if (thread.warp != 0) return;
  best = best_of_warp(thread.lane < kConsumerWarps ? warps[thread.lane] : best);
  if (thread.lane == 0) *block.at<Best>(task.best) = best;
}

template <typename T>
__device__ void product(Block& block, const Product& task) {
  if (task.keep_input == 0) {
    if (task.prologue == Input::joined) {
      join_splits<T>(block, task);
    } else {
      read_vector<T>(block, task);
    }
    sync_consumers();
  }
  multiply<T>(block, task);
  sync_consumers();
  finish_rows<T>(block, task);
}

__device__ inline void pick(const Block& block, const Pick& task) {
  const Thread thread;
  if (thread.warp != 0) return;
  const Best* found = block.at<const Best>(task.best);
  Best best{-INFINITY, kNoIndex};
  for (int i = thread.lane; i < task.count; i += kWarp) {
    const float value = __ldcg(&found[i].value);
    const Best other{value, __ldcg(&found[i].index)};
    if (comes_before(other, best)) best = other;
  }
  best = best_of_warp(best);
  if (thread.lane != 0) return;
  *block.at<int64_t>(task.output) = best.index;
  block.tokens[block.step] = best.index;
  auto* const seen = static_cast<int64_t*>(block.operands.at[kSeen]);
  if (seen != nullptr) seen[block.step] = best.index;
}

}  // namespace ostinato::cuda::persistent
