#include "ostinato/device/cuda/kernels/index.h"
#include "ostinato/device/cuda/kernels/scan.cuh"
#include "ostinato/device/cuda/kernels/walk.cuh"

/// Reads and writes of elements that index tensors name. Nothing depends on the order in which
/// threads run: who names a place that is named twice is decided by the items' order.
namespace ostinato::cuda {

namespace {

constexpr int kThreads = 256;

/// Where a line begins in the index tensor, the named tensor and the other.
struct Line {
  int64_t index, named, other;
};

__device__ inline Line line_of(const NamedParams& params, int64_t line) {
  int64_t offsets[3];
  walk_to<3>(params.lines, line, offsets);
  return {offsets[0], offsets[1], offsets[2]};
}

/// An element of both tensors; `named` is below zero where an index is out of range.
struct Pair {
  int64_t named, other;
};

__device__ Pair pair_of(const Operands& operands, const NamedParams& params, const Line& line,
                        int64_t item) {
  Pair pair{line.named, line.other};
  int64_t at[kMostNames] = {};
  for (int d = params.item_dims - 1; d >= 0; --d) {
    const int64_t index = item % params.item_sizes[d];
    item /= params.item_sizes[d];
    pair.other += index * params.other_strides[d];
    OSTINATO_UNROLL
    for (int k = 0; k < kMostNames; ++k) at[k] += index * params.index_strides[k][d];
  }
  at[0] += line.index;
  OSTINATO_UNROLL
  for (int k = 0; k < kMostNames; ++k) {
    if (k >= params.names) break;
    int64_t position = load<int64_t>(operands.at[2 + k], at[k], params.indices[k]);
    if (params.from_end != 0 && position < 0) position += params.sizes[k];
    if (position < 0 || position >= params.sizes[k]) {
      *operands.fault = operands.node;
      return {-1, 0};
    }
    pair.named += position * params.strides[k];
  }
  return pair;
}

/// Writes or adds one element; sums are rounded one by one.
__device__ void put(const Operands& operands, const PutParams& params, const Pair& pair) {
  void* const y = operands.at[0];
  const void* const x = operands.at[1];
  const Type type = params.named.type;
  const bool real = type <= Type::float16;
  if (params.adds == 0) {
    if (x != nullptr) {
      copy_element(y, pair.named, x, pair.other, type);
    } else if (real) {
      store(y, pair.named, type, static_cast<float>(params.real));
    } else {
      store(y, pair.named, type, params.integer);
    }
  } else if (real) {
    store(y, pair.named, type, load<float>(y, pair.named, type) + load<float>(x, pair.other, type));
  } else {
    const auto sum = static_cast<uint64_t>(load<int64_t>(y, pair.named, type)) +
                     static_cast<uint64_t>(load<int64_t>(x, pair.other, type));
    store(y, pair.named, type, static_cast<int64_t>(sum));
  }
}

/// What a reduction makes of two values, of which the first stays if it is NaN.
template <typename T>
__device__ T combined(Reduction reduction, T a, T b) {
  switch (reduction) {
    case Reduction::prod: return a * b;
    case Reduction::amax: return a != a || a > b ? a : b;
    case Reduction::amin: return a != a || a < b ? a : b;
    default: return a + b;
  }
}
__device__ inline int64_t wrapping(Reduction reduction, int64_t a, int64_t b) {
  if (reduction >= Reduction::amax) return combined(reduction, a, b);
  return static_cast<int64_t>(
      combined(reduction, static_cast<uint64_t>(a), static_cast<uint64_t>(b)));
}

__device__ inline double mean_of(double sum, int64_t count) {
  return sum / static_cast<double>(count);
}
__device__ inline int64_t mean_of(int64_t sum, int64_t count) {
  return sum / count - (sum % count < 0 ? 1 : 0);
}

/// One place of y: all items of its line that name it, in order.
/// @tparam T double or int64_t
template <typename T>
__device__ void reduce_place(const Operands& operands, const ScatterReduceParams& params,
                             int64_t line, int64_t place) {
  constexpr bool real = std::is_floating_point_v<T>;
  using Loaded = std::conditional_t<real, float, int64_t>;
  const NamedParams& named = params.named;
  const Line begin = line_of(named, line);
  const int64_t to = begin.named + place * named.strides[0];
  T value = static_cast<T>(load<Loaded>(operands.at[0], to, named.type));
  int64_t count = params.include_self != 0 ? 1 : 0;
  bool any = false;
  for (int64_t item = 0; item < named.item_count; ++item) {
    const Pair pair = pair_of(operands, named, begin, item);
    if (pair.named != to) continue;
    const T x = static_cast<T>(load<Loaded>(operands.at[1], pair.other, named.type));
    if constexpr (real) {
      value = count == 0 ? x : combined(params.reduction, value, x);
    } else {
      value = count == 0 ? x : wrapping(params.reduction, value, x);
    }
    ++count;
    any = true;
  }
  if (!any) return;
  if (params.reduction == Reduction::mean) value = mean_of(value, count);
  store(operands.at[0], to, named.type, static_cast<Loaded>(value));
}

/// Whether the mask has an element; past the end it has none.
__device__ inline bool is_set(const Operands& operands, const MaskedScatterParams& params,
                              int64_t i) {
  if (i >= params.count) return false;
  int64_t offset = 0;
  walk_to<1>(params.walk, i, &offset);
  return static_cast<const uint8_t*>(operands.at[1])[offset] != 0;
}

}  // namespace

OSTINATO_KERNEL(take_named, kThreads, NamedParams) {
  const int64_t count = params.line_count * params.item_count;
  for (int64_t i = first_of_thread(); i < count; i += threads_of_grid()) {
    const bool lines_last = params.lines_last != 0;
    const int64_t fast = lines_last ? params.line_count : params.item_count;
    const int64_t line = lines_last ? i % fast : i / fast;
    const Pair pair =
        pair_of(operands, params, line_of(params, line), lines_last ? i / fast : i % fast);
    if (pair.named < 0) continue;
    copy_element(operands.at[1], pair.other, operands.at[0], pair.named, params.type);
  }
}

/// A thread to each line.
OSTINATO_KERNEL(put_lines, kThreads, PutParams) {
  for (int64_t i = first_of_thread(); i < params.named.line_count; i += threads_of_grid()) {
    const Line line = line_of(params.named, i);
    for (int64_t item = 0; item < params.named.item_count; ++item) {
      const Pair pair = pair_of(operands, params.named, line, item);
      if (pair.named >= 0) put(operands, params, pair);
    }
  }
}

/// A block to each line, an item to each thread at a time: the first of those that name the same
/// place puts all of them.
OSTINATO_KERNEL(put_chunks, kThreads, PutParams) {
  __shared__ Pair pairs[kThreads];
  const Line line = line_of(params.named, blockIdx.x);
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  for (int64_t first = 0; first < params.named.item_count; first += threads) {
    const int64_t item = first + thread;
    const Pair own =
        item < params.named.item_count ? pair_of(operands, params.named, line, item) : Pair{-1, 0};
    __syncthreads();  // what the chunk before left has been read, and written
    pairs[thread] = own;
    __syncthreads();
    bool is_first = own.named >= 0;
    for (int i = 0; is_first && i < thread; ++i) is_first = pairs[i].named != own.named;
    if (!is_first) continue;
    for (int i = thread; i < threads; ++i) {
      if (pairs[i].named == own.named) put(operands, params, pairs[i]);
    }
  }
}

OSTINATO_KERNEL(scatter_reduce, kThreads, ScatterReduceParams) {
  const int64_t size = params.named.sizes[0], count = params.named.line_count * size;
  for (int64_t i = first_of_thread(); i < count; i += threads_of_grid()) {
    if (params.named.type <= Type::float16) {
      reduce_place<double>(operands, params, i / size, i % size);
    } else {
      reduce_place<int64_t>(operands, params, i / size, i % size);
    }
  }
}

OSTINATO_KERNEL(count_masked, kThreads, MaskedScatterParams) {
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kMaskChunk;
  int count = 0;
  for (int i = static_cast<int>(threadIdx.x); i < kMaskChunk; i += kThreads) {
    count += is_set(operands, params, first + i) ? 1 : 0;
  }
  count = block_reduce(count, Sum(), 0);
  if (threadIdx.x == 0) static_cast<int64_t*>(operands.at[3])[blockIdx.x] = count;
}

OSTINATO_KERNEL(masked_scatter, kThreads, MaskedScatterParams) {
  int64_t before = 0;
  for (int64_t i = threadIdx.x; i < blockIdx.x; i += kThreads) {
    before += static_cast<const int64_t*>(operands.at[3])[i];
  }
  before = block_reduce(before, Sum(), int64_t{0});
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kMaskChunk;
  for (int64_t i = first + threadIdx.x; i < first + kMaskChunk; i += kThreads) {
    const bool set = is_set(operands, params, i);
    int all = 0;
    const int rank = block_scan(set ? 1 : 0, Sum(), 0, &all);
    const int64_t from = before + rank - 1;
    before += all;
    if (!set) continue;
    if (from >= params.source_count) {
      *operands.fault = operands.node;
      continue;
    }
    int64_t offset = 0;
    walk_to<1>(params.source, from, &offset);
    copy_element(operands.at[0], i, operands.at[2], offset, params.type);
  }
}

}  // namespace ostinato::cuda
