#include "ostinato/device/cuda/kernels/functions.cuh"

/// Connected elementwise calls in one launch. Which they are is known when the kernel runs only:
/// all threads go through the same list of calls, and keep what lies between in shared memory.
namespace ostinato::cuda {

namespace {

constexpr int kThreads = 128;

__device__ inline float compute(RealFunction function, const float* values, const Extra& extra) {
  switch (function) {
#define OSTINATO_CASE(name, sources, Op) \
  case RealFunction::name: return static_cast<float>(Op()(values, extra));
    OSTINATO_REAL_FUNCTIONS(OSTINATO_CASE)
#undef OSTINATO_CASE
  }
  return 0;
}

__device__ inline int64_t compute(IntegerFunction function, const int64_t* values,
                                  const Extra& extra) {
  switch (function) {
#define OSTINATO_CASE(name, sources, Op) \
  case IntegerFunction::name: return static_cast<int64_t>(Op()(values, extra));
    OSTINATO_INTEGER_FUNCTIONS(OSTINATO_CASE)
#undef OSTINATO_CASE
  }
  return 0;
}

template <typename T>
__device__ T scalar_of(const ProgramSource& source);
template <>
__device__ float scalar_of<float>(const ProgramSource& source) {
  return static_cast<float>(source.real);
}
template <>
__device__ int64_t scalar_of<int64_t>(const ProgramSource& source) {
  return source.integer;
}

/// What a tensor of the type keeps of a value.
template <typename T>
__device__ T kept(T value, Type type) {
  int64_t memory = 0;
  store(&memory, 0, type, value);
  return load<T>(&memory, 0, type);
}

/// One call of the thread's; `values` are as tensors of their types have them, kThreads apart.
template <typename T, typename Function>
__device__ void run(const ProgramCall& call, int64_t* values, int to, const Extra& extra) {
  T sources[kMaxSources] = {};
  OSTINATO_UNROLL
  for (int k = 0; k < kMaxSources; ++k) {
    const ProgramSource& source = call.sources[k];
    if (source.value < 0) {
      sources[k] = scalar_of<T>(source);
      continue;
    }
    const T value = load<T>(values + source.value * kThreads, 0, source.type);
    sources[k] = source.rounds != 0 ? kept(value, call.computed) : value;
  }
  store(values + to * kThreads, 0, call.result,
        compute(static_cast<Function>(call.function), sources, extra));
}

}  // namespace

OSTINATO_KERNEL(program, kThreads, ProgramParams) {
  __shared__ int64_t shared[(kMostTensors + kMostCalls) * kThreads];
  int64_t* const values = shared + threadIdx.x;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < params.count;
       i += step) {
    int64_t rest = i, at[kMostTensors] = {};
    for (int d = params.dims - 1; d >= 0; --d) {
      const int64_t index = rest % params.sizes[d];
      rest /= params.sizes[d];
      OSTINATO_UNROLL
      for (int t = 0; t < kMostTensors; ++t) at[t] += index * params.strides[t][d];
    }
    OSTINATO_UNROLL
    for (int t = 0; t < kMostTensors; ++t) {
      if (t < params.tensor_count) {
        copy_element(values + t * kThreads, 0, operands.at[t], at[t], params.types[t]);
      }
    }
    for (int c = 0; c < params.call_count; ++c) {
      const ProgramCall& call = params.calls[c];
      const Extra extra{call.extra, call.extra_integers, &operands.node, operands.fault};
      if (call.is_real != 0) {
        run<float, RealFunction>(call, values, params.tensor_count + c, extra);
      } else {
        run<int64_t, IntegerFunction>(call, values, params.tensor_count + c, extra);
      }
    }
    const int last = params.tensor_count + params.call_count - 1;
    copy_element(operands.at[params.tensor_count], i, values + last * kThreads, 0,
                 params.calls[params.call_count - 1].result);
  }
}

}  // namespace ostinato::cuda
