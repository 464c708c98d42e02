#include "ostinato/device/cuda/cuda_device.h"

#include <array>
#include <chrono>
#include <deque>
#include <map>
#include <mutex>

#include "ostinato/base/digest.h"
#include "ostinato/base/error.h"
#include "ostinato/device/cuda/capture.h"
#include "ostinato/device/cuda/images.h"
#include "ostinato/device/cuda/persistent_capture.h"
#include "ostinato/device/cuda/select.h"

namespace ostinato::cuda {

namespace {

constexpr std::string_view kStage = "device/cuda";
constexpr int kHopper = 90;  // the first with programmatic dependent launch and bulk copies

int attribute(CUdevice device, CUdevice_attribute which) {
  int value = 0;
  OSTINATO_CUDA(cuDeviceGetAttribute, &value, which, device);
  return value;
}

std::string name_of(CUdevice device) {
  std::array<char, 128> model{};
  OSTINATO_CUDA(cuDeviceGetName, model.data(), static_cast<int>(model.size()), device);
  return model.data();
}

int capability_of(CUdevice device) {
  return 10 * attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) +
         attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
}

/// A GPU's primary context, which PyTorch uses too, its memory, and the compiled kernels in it.
class Opened final : public Functions {
 public:
  explicit Opened(CUdevice device) : device_(device) {
    OSTINATO_CUDA(cuDevicePrimaryCtxRetain, &context_, device);
    OSTINATO_CUDA(cuCtxSetCurrent, context_);
    OSTINATO_CUDA(cuStreamCreate, &stream_, CU_STREAM_NON_BLOCKING);
    CUmemPoolProps properties{};
    properties.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
    properties.location = {CU_MEM_LOCATION_TYPE_DEVICE, device};
    OSTINATO_CUDA(cuMemPoolCreate, &pool_, &properties);
    cuuint64_t keep_all = ~cuuint64_t{0};
    OSTINATO_CUDA(cuMemPoolSetAttribute, pool_, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &keep_all);
    for (const std::string_view image : kernel_images()) {
      CUmodule module = nullptr;
      OSTINATO_CUDA(cuModuleLoadData, &module, image.data());
      modules_.push_back(module);
    }
  }

  CUcontext context() const { return context_; }
  int multiprocessors() const override {
    return attribute(device_, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  }
  std::string model() const override {
    return fmt::format("{} sm_{} {}", name_of(device_), capability_of(device_), multiprocessors());
  }
  std::string code() const override {
    std::string digests;
    for (const std::string_view image : kernel_images()) {
      digests += digest({reinterpret_cast<const uint8_t*>(image.data()), image.size()}).str();
    }
    return digests;
  }
  std::shared_ptr<void> allocate(size_t bytes) override { return allocate(bytes, nullptr); }
  double seconds_of(const std::function<void(CUstream)>& queue) override {
    constexpr int kTimes = 8;
    const std::scoped_lock alone(measuring_);
    OSTINATO_CUDA(cuCtxSetCurrent, context_);
    queue(stream_);  // which may load code
    OSTINATO_CUDA(cuStreamSynchronize, stream_);
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kTimes; ++i) queue(stream_);
    OSTINATO_CUDA(cuStreamSynchronize, stream_);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / kTimes;
  }

  blas::Handle blas() override {
    const std::scoped_lock lock(mutex_);
    OSTINATO_CUDA(cuCtxSetCurrent, context_);
    if (blas_ == nullptr) blas::check(blas::library().Create(&blas_), "Create");
    return blas_;
  }

  CUfunction find(const std::string& name) override {
    const std::scoped_lock lock(mutex_);
    OSTINATO_CUDA(cuCtxSetCurrent, context_);
    CUfunction& function = functions_[name];
    for (size_t i = 0; function == nullptr && i < modules_.size(); ++i) {
      if (driver().cuModuleGetFunction(&function, modules_[i], name.c_str()) != CUDA_SUCCESS) {
        function = nullptr;
      }
    }
    if (function == nullptr) {
      fail(ErrorCode::internal, kStage, "Build Ostinato again.",
           "expected the kernel '{}' in this build, found none", name);
    }
    return function;
  }

  /// On the stream of its own unless one is given; nothing may be queued on the first when it is
  /// given back.
  std::shared_ptr<void> allocate(size_t bytes, CUstream given) {
    OSTINATO_CUDA(cuCtxSetCurrent, context_);
    CUstream stream = given != nullptr ? given : stream_;
    CUdeviceptr address = 0;
    OSTINATO_CUDA(cuMemAllocFromPoolAsync, &address, std::max<size_t>(bytes, 1), pool_, stream);
    if (given == nullptr) OSTINATO_CUDA(cuStreamSynchronize, stream);
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the driver gives addresses as integers
    return {reinterpret_cast<void*>(address), [this, address, stream](void*) {
              driver().cuCtxSetCurrent(context_);
              driver().cuMemFreeAsync(address, stream);
            }};
  }

  PoolUse use() const {
    cuuint64_t used = 0, peak = 0;
    OSTINATO_CUDA(cuMemPoolGetAttribute, pool_, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &used);
    OSTINATO_CUDA(cuMemPoolGetAttribute, pool_, CU_MEMPOOL_ATTR_USED_MEM_HIGH, &peak);
    return {used, peak};
  }

 private:
  CUdevice device_;
  CUcontext context_ = nullptr;
  CUstream stream_ = nullptr;
  CUmemoryPool pool_ = nullptr;
  std::vector<CUmodule> modules_;
  std::mutex mutex_, measuring_;
  std::map<std::string, CUfunction> functions_;
  blas::Handle blas_ = nullptr;
};

/// How many multiprocessors a kernel takes. Libraries' kernels share a workspace, and those with
/// memory between their blocks the stream's counters: none of them may run beside others.
int busy(const Kernel& kernel, int multiprocessors) {
  const auto all = static_cast<unsigned>(multiprocessors);
  unsigned most = kernel.scratch > 0 ? all : 1;
  for (const Kernel::Work& work : kernel.work) {
    const auto [x, y, z] = work.launch.grid;
    most = std::max(most, work.call != nullptr ? all : x * y * z);
  }
  return static_cast<int>(std::min(most, all));
}

CudaStream& own(device::Stream& stream) { return static_cast<CudaStream&>(stream); }

CUdeviceptr address(const void* pointer) { return reinterpret_cast<CUdeviceptr>(pointer); }

class CudaDevice final : public device::Device {
 public:
  explicit CudaDevice(int ordinal) : ordinal_(ordinal), name_(fmt::format("cuda:{}", ordinal)) {
    OSTINATO_CUDA(cuDeviceGet, &device_, ordinal);
  }

  std::string_view name() const override { return name_; }
  bool shares_host_memory() const override { return false; }

  device::Properties properties() const override {
    size_t total = 0;
    OSTINATO_CUDA(cuDeviceTotalMem, &total, device_);
    const std::vector<Load> all = loads();
    const auto index = static_cast<size_t>(ordinal_);
    const size_t in_use = index < all.size() ? all[index].total_bytes - all[index].free_bytes : 0;
    return {name_of(device_), fmt::format("sm_{}", capability()),
            attribute(device_, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT), total, in_use};
  }

  std::shared_ptr<void> allocate(size_t bytes) override { return open().allocate(bytes, nullptr); }
  std::shared_ptr<void> allocate_for(size_t bytes, device::Stream& stream) override {
    return open().allocate(bytes, own(stream).get());
  }
  std::shared_ptr<void> allocate_staging(size_t bytes) override {
    OSTINATO_CUDA(cuCtxSetCurrent, open().context());
    void* memory = nullptr;
    OSTINATO_CUDA(cuMemHostAlloc, &memory, std::max<size_t>(bytes, 1), CU_MEMHOSTALLOC_PORTABLE);
    return {memory, [](void* host) { driver().cuMemFreeHost(host); }};
  }

  void clear(void* target, size_t bytes, device::Stream& stream) override {
    if (bytes == 0) return;
    OSTINATO_CUDA(cuCtxSetCurrent, open().context());
    OSTINATO_CUDA(cuMemsetD8Async, address(target), 0, bytes, own(stream).get());
  }
  void copy_to_device(void* target, const void* host, size_t bytes,
                      device::Stream& stream) override {
    if (bytes == 0) return;
    OSTINATO_CUDA(cuCtxSetCurrent, open().context());
    OSTINATO_CUDA(cuMemcpyHtoDAsync, address(target), host, bytes, own(stream).get());
  }
  void copy_to_host(void* host, const void* source, size_t bytes, device::Stream& stream) override {
    if (bytes == 0) return;
    OSTINATO_CUDA(cuCtxSetCurrent, open().context());
    OSTINATO_CUDA(cuMemcpyDtoHAsync, host, address(source), bytes, own(stream).get());
  }

  std::unique_ptr<device::Stream> make_stream(int) override { return stream_on({}); }
  std::unique_ptr<device::Stream> borrow_stream(void* handle) override {
    // By its own name, since null stands for none elsewhere.
    return stream_on(handle == nullptr ? CU_STREAM_LEGACY : static_cast<CUstream>(handle));
  }
  std::shared_ptr<void> keep_current() override {
    CUcontext current = nullptr;
    OSTINATO_CUDA(cuCtxGetCurrent, &current);
    return {current,
            [](void* context) { driver().cuCtxSetCurrent(static_cast<CUcontext>(context)); }};
  }
  std::unique_ptr<device::Event> make_event(device::Stream& stream) override {
    return std::make_unique<CudaEvent>(own(stream));
  }
  std::unique_ptr<device::Kernel> prepare(const device::Request& request) override {
    if (request.tier == device::Tier::reference) return nullptr;
    const Factory make = find_factory(request.node->op->name);
    if (make == nullptr) return nullptr;
    std::unique_ptr<Kernel> kernel = make(request, open());
    if (kernel != nullptr) {
      kernel->node = request.node;
      kernel->request = request;
      kernel->multiprocessors = busy(*kernel, open().multiprocessors());
    }
    return kernel;
  }
  bool has(const ir::OpRow& op) const override { return find_factory(op.name) != nullptr; }
  device::Concurrency concurrency(int) override {
    // Of a multiprocessor of Hopper. Where sides begin and end, no kernel is resident early.
    return {open().multiprocessors(), 500e9, 30e9, 2e-6, 4e-6};
  }
  void launch(const device::Step& step, const device::Bindings& bindings,
              device::Stream& stream) override {
    cuda::launch(step, bindings, own(stream));
  }
  std::unique_ptr<device::Capture> capture(std::vector<device::Step> steps,
                                           device::Stream& stream) override {
    return make_capture(std::move(steps), *this, open(), own(stream), capability() >= kHopper);
  }
  void synchronise(device::Stream& stream) override { own(stream).synchronise(); }

  int capability() const { return capability_of(device_); }

  /// The context, made at the first call: listing devices should take no memory on them.
  Opened& open() {
    std::call_once(once_, [this] {
      constexpr int kOldest = 80;
      if (capability() < kOldest) {
        fail(ErrorCode::unsupported, kStage, "Use a GPU of the Ampere generation or later.",
             "expected compute capability 8.0 or later of {}, got {}.{}", name_, capability() / 10,
             capability() % 10);
      }
      const auto current = keep_current();
      opened_ = std::make_unique<Opened>(device_);
    });
    return *opened_;
  }
  PoolUse use() const { return opened_ == nullptr ? PoolUse{} : opened_->use(); }

 private:
  std::unique_ptr<CudaStream> stream_on(std::optional<CUstream> borrowed) {
    return std::make_unique<CudaStream>(open().context(),
                                        open().allocate(kTickets * sizeof(unsigned), nullptr),
                                        capability() >= kHopper, borrowed);
  }

  int ordinal_;
  std::string name_;
  CUdevice device_ = 0;
  std::once_flag once_;
  std::unique_ptr<Opened> opened_;
};

/// Never destroyed, since handles to its memory may outlive all else.
std::deque<CudaDevice>& machine() {
  static auto* const devices = [] {
    auto* made = new std::deque<CudaDevice>;
    int count = 0;
    OSTINATO_CUDA(cuDeviceGetCount, &count);
    for (int i = 0; i < count; ++i) made->emplace_back(i);
    return made;
  }();
  return *devices;
}

int chosen(const std::deque<CudaDevice>& devices) {
  if (devices.size() == 1) return 0;
  const std::vector<Load> all = loads();
  if (all.empty() && !devices.empty()) {
    fail(ErrorCode::unsupported, kStage, "Say which, as in --device cuda:0.",
         "cannot tell which of {} GPUs is idle without libnvidia-ml.so.1", devices.size());
  }
  return choose(all);
}

}  // namespace

std::vector<device::Device*> cuda_devices() {
  std::vector<device::Device*> result;
  try {
    for (CudaDevice& device : machine()) result.push_back(&device);
  } catch (const Error&) {
    return {};  // no driver; who asks for `cuda` by name is told why
  }
  return result;
}

device::Device& cuda_device(std::string_view name) {
  const std::optional<int> asked = ordinal_of(name);
  auto& devices = machine();
  const int ordinal = asked ? *asked : chosen(devices);
  if (static_cast<size_t>(ordinal) >= devices.size()) {
    fail(ErrorCode::not_found, kStage, "`ostinato devices` lists those there are.",
         "expected a GPU below cuda:{}, got {}", devices.size(), name);
  }
  CudaDevice& device = devices[static_cast<size_t>(ordinal)];
  device.open();
  return device;
}

PoolUse pool_use(const device::Device& cuda) { return static_cast<const CudaDevice&>(cuda).use(); }

}  // namespace ostinato::cuda
