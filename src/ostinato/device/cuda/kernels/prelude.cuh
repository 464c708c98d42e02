#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "ostinato/device/cuda/kernels/operands.h"

// A kernel is written once and compiled twice: by nvcc for the GPU, and by the host's compiler for
// the tests, which run it thread by thread where there is no GPU.
#ifdef OSTINATO_EMULATED
#include "device/cuda/emulator.h"
#else
/// A kernel that may be resident before the kernels it depends on are done: each thread of it calls
/// `wait_for_producers` before it touches what others write, and does so in any case, since the
/// kernels after it count on it not to be done before those before it.
#define OSTINATO_EARLY_KERNEL(name, most_threads, Params)               \
  extern "C" __global__ void __launch_bounds__(most_threads)            \
      name(const __grid_constant__ ::ostinato::cuda::Operands operands, \
           const __grid_constant__ Params params)
#define OSTINATO_UNROLL _Pragma("unroll")
#define OSTINATO_UNROLL_2 _Pragma("unroll 2")
#define OSTINATO_UNROLL_4 _Pragma("unroll 4")
namespace ostinato::cuda {
// Programmatic dependent launch, from compute capability 9.0 on.
__device__ __forceinline__ void wait_for_producers() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ __forceinline__ void let_consumers_begin() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}
}  // namespace ostinato::cuda
#endif

/// A kernel of that name for blocks of up to so many threads; its body finds `operands` and
/// `params`. The next kernel becomes resident as soon as all blocks of this one are.
#define OSTINATO_KERNEL(name, most_threads, Params)                                       \
  __device__ __forceinline__ void name##_body(const ::ostinato::cuda::Operands& operands, \
                                              const Params& params);                      \
  OSTINATO_EARLY_KERNEL(name, most_threads, Params) {                                     \
    ::ostinato::cuda::let_consumers_begin();                                              \
    ::ostinato::cuda::wait_for_producers();                                               \
    name##_body(operands, params);                                                        \
  }                                                                                       \
  __device__ __forceinline__ void name##_body(                                            \
      [[maybe_unused]] const ::ostinato::cuda::Operands& operands,                        \
      [[maybe_unused]] const Params& params)

namespace ostinato::cuda {

using bf16 = __nv_bfloat16;
using f16 = __half;

// Elements that a grid shares out: a thread's first, and how far its next is from it.
__device__ inline int64_t first_of_thread() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline int64_t threads_of_grid() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(bf16 x) { return __bfloat162float(x); }
__device__ inline float to_float(f16 x) { return __half2float(x); }

template <typename T>
__device__ inline T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) {
  return x;
}
template <>
__device__ inline bf16 from_float<bf16>(float x) {
  return __float2bfloat16(x);
}
template <>
__device__ inline f16 from_float<f16>(float x) {
  return __float2half(x);
}

/// What T keeps of a float.
template <typename T>
__device__ inline float rounded(float x) {
  return to_float(from_float<T>(x));
}

/// The same, of a floating type that is known when the kernel runs.
__device__ inline float rounded(float x, Type type) {
  if (type == Type::bfloat16) return rounded<bf16>(x);
  return type == Type::float16 ? rounded<f16>(x) : x;
}

/// One element of any type; T is float or int64_t.
template <typename T>
__device__ __forceinline__ T load(const void* data, int64_t at, Type type) {
  switch (type) {
    case Type::float32: return static_cast<T>(static_cast<const float*>(data)[at]);
    case Type::bfloat16: return static_cast<T>(to_float(static_cast<const bf16*>(data)[at]));
    case Type::float16: return static_cast<T>(to_float(static_cast<const f16*>(data)[at]));
    case Type::int64: return static_cast<T>(static_cast<const int64_t*>(data)[at]);
    case Type::int32: return static_cast<T>(static_cast<const int32_t*>(data)[at]);
    case Type::uint8:
    case Type::boolean: return static_cast<T>(static_cast<const uint8_t*>(data)[at]);
  }
  return T{};
}

/// Rounds to the type; integers truncate and wrap.
template <typename T>
__device__ __forceinline__ void store(void* data, int64_t at, Type type, T value) {
  switch (type) {
    case Type::float32: static_cast<float*>(data)[at] = static_cast<float>(value); break;
    case Type::bfloat16:
      static_cast<bf16*>(data)[at] = from_float<bf16>(static_cast<float>(value));
      break;
    case Type::float16:
      static_cast<f16*>(data)[at] = from_float<f16>(static_cast<float>(value));
      break;
    case Type::int64: static_cast<int64_t*>(data)[at] = static_cast<int64_t>(value); break;
    case Type::int32:
      static_cast<int32_t*>(data)[at] = static_cast<int32_t>(static_cast<int64_t>(value));
      break;
    case Type::uint8:
      static_cast<uint8_t*>(data)[at] = static_cast<uint8_t>(static_cast<int64_t>(value));
      break;
    case Type::boolean: static_cast<uint8_t*>(data)[at] = value != T{}; break;
  }
}

/// Copies one element without changing a bit of it.
__device__ inline void copy_element(void* to, int64_t to_at, const void* from, int64_t from_at,
                                    Type type) {
  switch (type) {
    case Type::float32:
    case Type::int32:
      static_cast<int32_t*>(to)[to_at] = static_cast<const int32_t*>(from)[from_at];
      break;
    case Type::bfloat16:
    case Type::float16:
      static_cast<int16_t*>(to)[to_at] = static_cast<const int16_t*>(from)[from_at];
      break;
    case Type::int64:
      static_cast<int64_t*>(to)[to_at] = static_cast<const int64_t*>(from)[from_at];
      break;
    case Type::uint8:
    case Type::boolean:
      static_cast<uint8_t*>(to)[to_at] = static_cast<const uint8_t*>(from)[from_at];
      break;
  }
}

constexpr int kAtOnce = 4;  // elements that a thread takes where all lie side by side

/// Four elements of a type of one, two, four or eight bytes, read or written at once.
template <typename U>
struct alignas(sizeof(U) * kAtOnce > 16 ? 16 : sizeof(U) * kAtOnce) Four {
  U values[kAtOnce];
};

template <typename T, typename U>
__device__ __forceinline__ void load_four_of(const void* data, int64_t at, T* values) {
  const Four<U> four = *reinterpret_cast<const Four<U>*>(static_cast<const U*>(data) + at);
  OSTINATO_UNROLL
  for (int i = 0; i < kAtOnce; ++i) {
    if constexpr (sizeof(U) == 2) {
      values[i] = static_cast<T>(to_float(four.values[i]));
    } else {
      values[i] = static_cast<T>(four.values[i]);
    }
  }
}

template <typename T>
__device__ __forceinline__ void load_four(const void* data, int64_t at, Type type, T* values) {
  switch (type) {
    case Type::float32: return load_four_of<T, float>(data, at, values);
    case Type::bfloat16: return load_four_of<T, bf16>(data, at, values);
    case Type::float16: return load_four_of<T, f16>(data, at, values);
    case Type::int64: return load_four_of<T, int64_t>(data, at, values);
    case Type::int32: return load_four_of<T, int32_t>(data, at, values);
    case Type::uint8:
    case Type::boolean: return load_four_of<T, uint8_t>(data, at, values);
  }
}

template <typename U, typename T>
__device__ __forceinline__ void store_four_of(void* data, int64_t at, Type type, const T* values) {
  Four<U> four;
  OSTINATO_UNROLL
  for (int i = 0; i < kAtOnce; ++i) store(four.values, i, type, values[i]);
  *reinterpret_cast<Four<U>*>(static_cast<U*>(data) + at) = four;
}

template <typename T>
__device__ __forceinline__ void store_four(void* data, int64_t at, Type type, const T* values) {
  switch (type) {
    case Type::float32: return store_four_of<float>(data, at, type, values);
    case Type::bfloat16: return store_four_of<bf16>(data, at, type, values);
    case Type::float16: return store_four_of<f16>(data, at, type, values);
    case Type::int64: return store_four_of<int64_t>(data, at, type, values);
    case Type::int32: return store_four_of<int32_t>(data, at, type, values);
    case Type::uint8:
    case Type::boolean: return store_four_of<uint8_t>(data, at, type, values);
  }
}

__device__ inline bool is_aligned(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

/// 16 bytes, which a lane reads at once.
template <typename T>
struct alignas(16) Pack {
  static constexpr int kCount = 16 / sizeof(T);
  T values[kCount];
};

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

struct Sum {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};

/// Over the warp's lanes; every lane gets it.
template <typename Op, typename T>
__device__ inline T warp_reduce(T value, Op op) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    value = op(value, __shfl_xor_sync(kAllLanes, value, step));
  }
  return value;
}

/// Over the block's threads, of which there is a whole number of warps; every thread gets it.
template <typename Op, typename T>
__device__ inline T block_reduce(T value, Op op, T none) {
  __shared__ T partial[kWarp];
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  value = warp_reduce(value, op);
  __syncthreads();  // what an earlier reduction left has been read
  if (lane == 0) partial[warp] = value;
  __syncthreads();
  return warp_reduce(lane < warps ? partial[lane] : none, op);
}

}  // namespace ostinato::cuda
