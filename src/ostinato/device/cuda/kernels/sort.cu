#include "ostinato/device/cuda/kernels/sort.h"
#include "ostinato/device/cuda/kernels/walk.cuh"

/// Stable sorts of lines: bitonic in shared memory, longer lines by merges, in which each element
/// finds its place by a binary search in the other run.
namespace ostinato::cuda {

namespace {

constexpr int kThreads = 256;

/// Numbers in the order of floats, of which NaN is the greatest and both zeros are equal.
__device__ inline uint32_t key_of(float x) {
  if (x != x) return 0xffffffffu;
  if (x == 0) return 0x80000000u;
  const uint32_t bits = __float_as_uint(x);
  return (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
}
__device__ inline uint64_t key_of(int64_t x) {
  return static_cast<uint64_t>(x) ^ (uint64_t{1} << 63);
}

template <typename Key>
__device__ inline bool precedes(const SortEntry<Key>& a, const SortEntry<Key>& b) {
  return a.key < b.key || (a.key == b.key && a.place < b.place);
}

/// Where a line lies in x, the values and the places.
struct Line {
  int64_t offsets[3];
};

__device__ inline Line line_of(const SortParams& params, int64_t line) {
  Line result;
  walk_to<3>(params.lines, line, result.offsets);
  return result;
}

template <typename T, typename Key>
__device__ SortEntry<Key> entry_of(const Operands& operands, const SortParams& params,
                                   const Line& line, int64_t place) {
  if (place >= params.length) return {static_cast<Key>(~Key{0}), 0xffffffffu};
  const Key key =
      key_of(load<T>(operands.at[0], line.offsets[0] + place * params.x_stride, params.x));
  return {params.descending != 0 ? static_cast<Key>(~key) : key, static_cast<uint32_t>(place)};
}

/// Writes the entry that is at a position of the sorted line to the results.
template <typename Key>
__device__ void put(const Operands& operands, const SortParams& params, const Line& line,
                    int64_t position, const SortEntry<Key>& entry) {
  static_cast<int64_t*>(operands.at[2])[line.offsets[2] + position * params.places_stride] =
      entry.place;
  if (operands.at[1] == nullptr) return;
  copy_element(operands.at[1], line.offsets[1] + position * params.values_stride, operands.at[0],
               line.offsets[0] + entry.place * params.x_stride, params.x);
}

template <typename T, typename Key>
__device__ void sort_tile(const Operands& operands, const SortParams& params) {
  __shared__ SortEntry<Key> entries[kMostSorted];
  const int64_t tiles = (params.length + params.tile - 1) / params.tile;
  const int64_t line = blockIdx.x / tiles, first = blockIdx.x % tiles * params.tile;
  const Line at = line_of(params, line);
  const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < params.tile; i += threads) {
    entries[i] = entry_of<T, Key>(operands, params, at, first + i);
  }
  for (int size = 2; size <= params.tile; size *= 2) {
    for (int step = size / 2; step > 0; step /= 2) {
      __syncthreads();
      for (int i = thread; i < params.tile / 2; i += threads) {
        const int low = 2 * i - (i & (step - 1)), high = low + step;
        const SortEntry<Key> a = entries[low], b = entries[high];
        if (precedes(b, a) == ((low & size) == 0)) {
          entries[low] = b;
          entries[high] = a;
        }
      }
    }
  }
  __syncthreads();
  const int64_t inside = min(params.length - first, min(params.kept, int64_t{params.tile}));
  auto* const runs = static_cast<SortEntry<Key>*>(operands.at[4]);
  for (int i = thread; i < inside; i += threads) {
    if (tiles == 1) {
      put(operands, params, at, i, entries[i]);
    } else {
      runs[line * params.length + first + i] = entries[i];
    }
  }
}

template <typename Key>
__device__ void merge(const Operands& operands, const SortParams& params) {
  auto* const merged = static_cast<SortEntry<Key>*>(operands.at[4]);
  const int64_t count = params.count * params.length;
  for (int64_t i = first_of_thread(); i < count; i += threads_of_grid()) {
    const int64_t line = i / params.length, position = i % params.length;
    const auto* const runs =
        static_cast<const SortEntry<Key>*>(operands.at[3]) + line * params.length;
    const int64_t own = position / params.width, in_run = position % params.width;
    if (in_run >= params.kept) continue;  // what runs do not keep is not there
    const int64_t other = (own ^ 1) * params.width;
    const SortEntry<Key> entry = runs[position];
    int64_t low = 0, high = min(min(params.width, params.kept), params.length - other);
    while (low < high) {  // how many of the other run come before it
      const int64_t middle = (low + high) / 2;
      if (precedes(runs[other + middle], entry)) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    const int64_t to = in_run + low;
    if (to >= params.kept) continue;
    if (merged == nullptr) {
      put(operands, params, line_of(params, line), to, entry);
    } else {
      merged[line * params.length + (own & ~int64_t{1}) * params.width + to] = entry;
    }
  }
}

}  // namespace

OSTINATO_KERNEL(sort_real, kThreads, SortParams) { sort_tile<float, uint32_t>(operands, params); }
OSTINATO_KERNEL(sort_integer, kThreads, SortParams) {
  sort_tile<int64_t, uint64_t>(operands, params);
}
OSTINATO_KERNEL(merge_real, kThreads, SortParams) { merge<uint32_t>(operands, params); }
OSTINATO_KERNEL(merge_integer, kThreads, SortParams) { merge<uint64_t>(operands, params); }

}  // namespace ostinato::cuda
