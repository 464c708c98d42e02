#include "ostinato/device/cuda/kernels/functions.cuh"

namespace ostinato::cuda {

namespace {

constexpr int kThreads = 256;

template <typename T>
__device__ T scalar_of(const ElementwiseSource& source);
template <>
__device__ float scalar_of<float>(const ElementwiseSource& source) {
  return static_cast<float>(source.real);
}
template <>
__device__ int64_t scalar_of<int64_t>(const ElementwiseSource& source) {
  return source.integer;
}

/// The value as the type that is computed in has it.
__device__ inline float as_computed(float value, const ElementwiseSource& source) {
  return source.rounds != 0 ? rounded(value, source.computed) : value;
}
__device__ inline int64_t as_computed(int64_t value, const ElementwiseSource& source) {
  if (source.rounds == 0) return value;
  if (source.computed == Type::int32) return static_cast<int32_t>(value);
  if (source.computed == Type::uint8) return static_cast<uint8_t>(value);
  return source.computed == Type::boolean ? value != 0 : value;
}

template <typename T, int sources, typename Op>
__device__ void strided(const Operands& operands, const ElementwiseParams& params, int64_t first,
                        int64_t last, int64_t step) {
  const Extra extra{params.extra, params.extra_integers, &operands.node, operands.fault};
  for (int64_t i = first; i < last; i += step) {
    int64_t at[kMaxSources] = {}, to = 0;
    // Most tensors have fewer than 2^31 elements, and divisions of 32 bits are several times
    // faster.
    if (params.count <= 0x7fffffff) {
      auto rest = static_cast<uint32_t>(i);
      for (int d = params.dims - 1; d >= 0; --d) {
        const auto size = static_cast<uint32_t>(params.sizes[d]);
        const uint32_t index = rest % size;
        rest /= size;
        OSTINATO_UNROLL
        for (int k = 0; k < sources; ++k) at[k] += index * params.sources[k].strides[d];
        to += index * params.result_strides[d];
      }
    } else {
      int64_t rest = i;
      for (int d = params.dims - 1; d >= 0; --d) {
        const int64_t index = rest % params.sizes[d];
        rest /= params.sizes[d];
        OSTINATO_UNROLL
        for (int k = 0; k < sources; ++k) at[k] += index * params.sources[k].strides[d];
        to += index * params.result_strides[d];
      }
    }
    T values[kMaxSources] = {};
    OSTINATO_UNROLL
    for (int k = 0; k < sources; ++k) {
      const ElementwiseSource& source = params.sources[k];
      values[k] = source.slot < 0
                      ? scalar_of<T>(source)
                      : as_computed(load<T>(operands.at[source.slot], at[k], source.type), source);
    }
    store(operands.at[params.result_slot], to, params.result, static_cast<T>(Op()(values, extra)));
  }
}

template <typename T, int sources, typename Op>
__device__ void elementwise(const Operands& operands, const ElementwiseParams& params) {
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t threads = static_cast<int64_t>(gridDim.x) * blockDim.x;
  bool side_by_side = params.dims == 1 && params.result_strides[0] == 1 &&
                      is_aligned(operands.at[params.result_slot]);
  OSTINATO_UNROLL
  for (int k = 0; k < sources; ++k) {
    const ElementwiseSource& source = params.sources[k];
    const bool is_run = source.slot < 0 || source.strides[0] == 0 ||
                        (source.strides[0] == 1 && is_aligned(operands.at[source.slot]));
    side_by_side = side_by_side && is_run;
  }
  if (!side_by_side) {
    return strided<T, sources, Op>(operands, params, thread, params.count, threads);
  }
  const Extra extra{params.extra, params.extra_integers, &operands.node, operands.fault};
  const int64_t whole = params.count / kAtOnce * kAtOnce;
  for (int64_t i = thread * kAtOnce; i < whole; i += threads * kAtOnce) {
    T values[kMaxSources][kAtOnce] = {};
    OSTINATO_UNROLL
    for (int k = 0; k < sources; ++k) {
      const ElementwiseSource& source = params.sources[k];
      if (source.slot >= 0 && source.strides[0] == 1) {
        load_four(operands.at[source.slot], i, source.type, values[k]);
      } else {
        const T value = source.slot < 0 ? scalar_of<T>(source)
                                        : load<T>(operands.at[source.slot], 0, source.type);
        OSTINATO_UNROLL
        for (int j = 0; j < kAtOnce; ++j) values[k][j] = value;
      }
      if (source.slot < 0) continue;
      OSTINATO_UNROLL
      for (int j = 0; j < kAtOnce; ++j) values[k][j] = as_computed(values[k][j], source);
    }
    T results[kAtOnce];
    OSTINATO_UNROLL
    for (int j = 0; j < kAtOnce; ++j) {
      const T column[kMaxSources] = {values[0][j], values[1][j], values[2][j]};
      results[j] = static_cast<T>(Op()(column, extra));
    }
    store_four(operands.at[params.result_slot], i, params.result, results);
  }
  strided<T, sources, Op>(operands, params, whole + thread, params.count, threads);
}

}  // namespace

#define OSTINATO_REAL_KERNEL(name, sources, Op)               \
  OSTINATO_KERNEL(name##_real, kThreads, ElementwiseParams) { \
    elementwise<float, sources, Op>(operands, params);        \
  }
#define OSTINATO_INTEGER_KERNEL(name, sources, Op)               \
  OSTINATO_KERNEL(name##_integer, kThreads, ElementwiseParams) { \
    elementwise<int64_t, sources, Op>(operands, params);         \
  }

OSTINATO_REAL_FUNCTIONS(OSTINATO_REAL_KERNEL)
OSTINATO_INTEGER_FUNCTIONS(OSTINATO_INTEGER_KERNEL)

}  // namespace ostinato::cuda
