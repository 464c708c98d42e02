#include "ostinato/device/cuda/select.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "ostinato/base/error.h"
#include "ostinato/device/cuda/driver.h"

namespace ostinato::cuda {

namespace {

constexpr std::string_view kStage = "device/cuda";

// The four calls of NVML that are needed; its ABI is stable.
struct NvmlMemory {
  unsigned long long total, free, used;
};
struct NvmlUtilization {
  unsigned gpu, memory;
};
struct Nvml {
  int (*init)();
  int (*find)(const char* bus_id, void** device);
  int (*memory)(void* device, NvmlMemory* memory);
  int (*utilization)(void* device, NvmlUtilization* utilization);
};

template <typename F>
bool find(void* library, const char* name, F& function) {
  function = reinterpret_cast<F>(dlsym(library, name));
  return function != nullptr;
}

std::optional<Nvml> load() {
  void* library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  Nvml nvml{};
  if (library == nullptr || !find(library, "nvmlInit_v2", nvml.init) ||
      !find(library, "nvmlDeviceGetHandleByPciBusId_v2", nvml.find) ||
      !find(library, "nvmlDeviceGetMemoryInfo", nvml.memory) ||
      !find(library, "nvmlDeviceGetUtilizationRates", nvml.utilization) || nvml.init() != 0) {
    return std::nullopt;
  }
  return nvml;
}

}  // namespace

std::optional<int> ordinal_of(std::string_view name) {
  if (name == "cuda") return std::nullopt;
  const std::string_view digits = name.substr(std::min(name.size(), name.find(':') + 1));
  int ordinal = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), ordinal);
  if (error == std::errc() && end == digits.data() + digits.size() && ordinal >= 0) return ordinal;
  fail(ErrorCode::invalid_argument, kStage, "Use cuda, or cuda:0 for the first GPU.",
       "expected cuda or cuda:N, got '{}'", name);
}

int choose(const std::vector<Load>& loads) {
  if (loads.empty()) {
    fail(ErrorCode::not_found, kStage, "Use --device cpu, or a machine with an NVIDIA GPU.",
         "expected a GPU, found none");
  }
  const auto idlest = std::min_element(
      loads.begin(), loads.end(),
      [](const Load& a, const Load& b) { return a.busy_percent < b.busy_percent; });
  constexpr unsigned kAlike = 10;
  const unsigned limit = idlest->busy_percent + kAlike;
  size_t best = loads.size();
  for (size_t i = 0; i < loads.size(); ++i) {
    if (loads[i].busy_percent > limit) continue;
    if (best == loads.size() || loads[i].free_bytes > loads[best].free_bytes) best = i;
  }
  return static_cast<int>(best);
}

std::vector<Load> loads() {
  static const std::optional<Nvml> nvml = load();
  int count = 0;
  OSTINATO_CUDA(cuDeviceGetCount, &count);
  std::vector<Load> result;
  for (int i = 0; nvml && i < count; ++i) {
    CUdevice device = 0;
    OSTINATO_CUDA(cuDeviceGet, &device, i);
    std::array<char, 32> bus{};
    OSTINATO_CUDA(cuDeviceGetPCIBusId, bus.data(), static_cast<int>(bus.size()), device);
    void* handle = nullptr;
    NvmlMemory memory{};
    NvmlUtilization utilization{};
    if (nvml->find(bus.data(), &handle) != 0 || nvml->memory(handle, &memory) != 0) return {};
    if (nvml->utilization(handle, &utilization) != 0) utilization = {};  // not told in a MIG slice
    result.push_back({memory.free, memory.total, utilization.gpu});
  }
  return result;
}

}  // namespace ostinato::cuda
