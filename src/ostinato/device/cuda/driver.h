#pragma once

#include <cuda.h>

#include <string>
#include <string_view>

namespace ostinato::cuda {

// Every function of the driver that the device calls.
#define OSTINATO_DRIVER_FUNCTIONS(X)             \
  X(cuInit)                                      \
  X(cuGetErrorName)                              \
  X(cuDriverGetVersion)                          \
  X(cuDeviceGetCount)                            \
  X(cuDeviceGet)                                 \
  X(cuDeviceGetName)                             \
  X(cuDeviceGetAttribute)                        \
  X(cuDeviceGetPCIBusId)                         \
  X(cuDeviceTotalMem)                            \
  X(cuDevicePrimaryCtxRetain)                    \
  X(cuCtxGetCurrent)                             \
  X(cuCtxSetCurrent)                             \
  X(cuCtxGetDevice)                              \
  X(cuFuncSetAttribute)                          \
  X(cuOccupancyMaxActiveBlocksPerMultiprocessor) \
  X(cuLaunchCooperativeKernel)                   \
  X(cuMemPoolCreate)                             \
  X(cuMemPoolSetAttribute)                       \
  X(cuMemPoolGetAttribute)                       \
  X(cuMemAllocFromPoolAsync)                     \
  X(cuMemFreeAsync)                              \
  X(cuMemHostAlloc)                              \
  X(cuMemFreeHost)                               \
  X(cuMemcpyHtoDAsync)                           \
  X(cuMemcpyDtoHAsync)                           \
  X(cuMemsetD8Async)                             \
  X(cuStreamCreate)                              \
  X(cuStreamDestroy)                             \
  X(cuStreamSynchronize)                         \
  X(cuStreamBeginCapture)                        \
  X(cuStreamEndCapture)                          \
  X(cuEventCreate)                               \
  X(cuEventRecord)                               \
  X(cuEventSynchronize)                          \
  X(cuEventDestroy)                              \
  X(cuModuleLoadData)                            \
  X(cuModuleGetFunction)                         \
  X(cuLaunchKernel)                              \
  X(cuGraphCreate)                               \
  X(cuGraphDestroy)                              \
  X(cuGraphAddNode)                              \
  X(cuGraphAddChildGraphNode)                    \
  X(cuGraphInstantiate)                          \
  X(cuGraphExecDestroy)                          \
  X(cuGraphExecUpdate)                           \
  X(cuGraphExecNodeSetParams)                    \
  X(cuGraphExecChildGraphNodeSetParams)          \
  X(cuGraphLaunch)

/// The driver, as a table of its functions: it is loaded at run time, so that one build serves
/// machines with and without it, and a test can put another in its place.
struct Driver {
// NOLINTNEXTLINE(bugprone-macro-parentheses): a declaration
#define OSTINATO_FUNCTION(name) decltype(&::name) name = nullptr;
  OSTINATO_DRIVER_FUNCTIONS(OSTINATO_FUNCTION)
#undef OSTINATO_FUNCTION
};

/// Loaded and initialised at the first call. Throws `unsupported` with what to do when there is
/// none, or one that is too old.
const Driver& driver();

/// Puts another in place of the driver, for tests; before anything else of this room is called.
void use_driver(const Driver* driver);

/// Throws `out_of_memory` or `internal` unless the call succeeded.
/// @param call its name
void check(CUresult result, std::string_view call);

#define OSTINATO_CUDA(call, ...) \
  ::ostinato::cuda::check(::ostinato::cuda::driver().call(__VA_ARGS__), #call)

}  // namespace ostinato::cuda
