#include "ostinato/device/cpu/cpu_device.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "ostinato/base/error.h"
#include "ostinato/device/cpu/capture.h"
#include "ostinato/device/cpu/isa.h"

namespace ostinato::cpu {

namespace {

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

/// `MemAvailable` of the kernel: what could be had without swapping.
size_t available_without_swap() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("MemAvailable:")) return std::stoull(line.substr(13)) * 1024;
  }
  return 0;
}

class CpuDevice final : public device::Device {
 public:
  std::string_view name() const override { return "cpu"; }

  device::Properties properties() const override {
    const size_t memory =
        static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
    return {cpu_model(), std::string(name_of(isa())), default_threads(), memory,
            memory - std::min(memory, available_without_swap())};
  }

  std::shared_ptr<void> allocate(size_t bytes) override {
    Tensor memory = Tensor::empty(DType::uint8, {static_cast<int64_t>(bytes)});
    void* data = memory.data();
    return {data, [memory](void*) {}};
  }

  void clear(void* target, size_t bytes, device::Stream&) override {
    std::memset(target, 0, bytes);
  }
  void copy_to_device(void* target, const void* host, size_t bytes, device::Stream&) override {
    if (bytes > 0) std::memcpy(target, host, bytes);
  }
  void copy_to_host(void* host, const void* source, size_t bytes, device::Stream&) override {
    if (bytes > 0) std::memcpy(host, source, bytes);
  }

  std::unique_ptr<device::Stream> make_stream(int threads) override {
    return std::make_unique<CpuStream>(threads);
  }

  std::unique_ptr<device::Kernel> prepare(const device::Request& request) override {
    const Factory make = kernels().find(request.node->op->name, request.tier);
    return make == nullptr ? nullptr : make(request);
  }

  bool has(const ir::OpRow& op) const override {
    return kernels().find(op.name, device::Tier::fast) != nullptr;
  }
  bool falls_back(const ir::OpRow& op) const override {
    const Factory fast = kernels().find(op.name, device::Tier::fast);
    return fast != nullptr && fast == kernels().find(op.name, device::Tier::reference);
  }

  device::Concurrency concurrency(int threads) override {
    // Of a core, on what fits into its caches. A section takes less, but saves nothing that could
    // be measured where it saves no more.
    return {threads, 80e9, 40e9, 0.2e-6, 2e-6};
  }

  void launch(const device::Step& step, const device::Bindings& bindings,
              device::Stream& stream) override {
    // One step is a capture of one step that is replayed at once.
    CpuCapture({step}, static_cast<CpuStream&>(stream)).replay(bindings);
  }

  std::unique_ptr<device::Capture> capture(std::vector<device::Step> steps,
                                           device::Stream& stream) override {
    return std::make_unique<CpuCapture>(std::move(steps), static_cast<CpuStream&>(stream));
  }

  void synchronise(device::Stream&) override {}  // launch and replay return when all is done
};

}  // namespace

device::Device& cpu_device() {
  static CpuDevice instance;
  return instance;
}

}  // namespace ostinato::cpu
