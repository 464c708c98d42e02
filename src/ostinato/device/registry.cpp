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

}  // namespace

std::vector<Device*> all() {
  std::vector<Device*> devices = {&cpu::cpu_device(), &null_device()};
#ifdef OSTINATO_HAS_CUDA
  for (Device* device : cuda::cuda_devices()) devices.push_back(device);
#endif
  return devices;
}

Device& get(std::string_view name) {
  if (is_cuda(name)) return cuda_device(name);
  std::string names;
  for (Device* device : all()) {
    if (device->name() == name) return *device;
    names += (names.empty() ? "" : ", ") + std::string(device->name());
  }
  fail(ErrorCode::not_found, "device", fmt::format("Devices of this build: {}.", names),
       "there is no device '{}'", name);
}

}  // namespace ostinato::device
