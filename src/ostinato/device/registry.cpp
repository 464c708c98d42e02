#include <array>

#include "ostinato/base/error.h"
#include "ostinato/device/cpu/cpu_device.h"
#include "ostinato/device/null/null_device.h"
#ifdef OSTINATO_HAS_CUDA
#include "ostinato/device/cuda/cuda_device.h"
#endif

namespace ostinato::device {

namespace {

bool is_cuda(std::string_view name) { return name == "cuda" || name.starts_with("cuda:"); }

Device& cuda_device(std::string_view name) {
#ifdef OSTINATO_HAS_CUDA
  return cuda::cuda_device(name);
#else
  fail(ErrorCode::unsupported, "device/cuda", "Build it where CUDA's nvcc is, or use --device cpu.",
       "expected a build with the device for NVIDIA's GPUs, to run on {}", name);
#endif
}

/// Those that are on every machine, found without a look for drivers.
std::array<Device*, 2> everywhere() { return {&cpu::cpu_device(), &null_device()}; }

}  // namespace

std::unique_ptr<Stream> Device::borrow_stream(void*) {
  fail(ErrorCode::unsupported, "device", "Let the engine make its streams.",
       "the device '{}' takes no streams of other libraries", name());
}

std::vector<Device*> all() {
  const std::array<Device*, 2> first = everywhere();
  std::vector<Device*> devices(first.begin(), first.end());
#ifdef OSTINATO_HAS_CUDA
  for (Device* device : cuda::cuda_devices()) devices.push_back(device);
#endif
  return devices;
}

Device& get(std::string_view name) {
  if (is_cuda(name)) return cuda_device(name);
  for (Device* device : everywhere()) {
    if (device->name() == name) return *device;
  }
  std::string names;
  for (const Device* device : all()) {
    names += (names.empty() ? "" : ", ") + std::string(device->name());
  }
  fail(ErrorCode::not_found, "device", fmt::format("Devices of this build: {}.", names),
       "there is no device '{}'", name);
}

}  // namespace ostinato::device
