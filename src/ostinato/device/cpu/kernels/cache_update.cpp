#include "ostinato/device/cpu/kernels/assembly.h"
#include "ostinato/device/cpu/kernels/index.h"
#include "ostinato/device/cpu/kernels/kernels.h"

namespace ostinato::cpu {

namespace {

// Writes `value` (B, H, S, D) to the rows of the cache (B, H, C, D), in place, from `position` on.
class CacheUpdateKernel final : public Kernel {
 public:
  CacheUpdateKernel(const device::Request& request, const StridedCopy& copy)
      : node_(request.node),
        copy_(copy),
        position_(request.inputs[2]->dtype),
        last_(request.outputs[0].sizes()[2] - request.inputs[1]->sizes()[2]),
        row_bytes_(byte_strides(request.outputs[0])[2]) {
    workers_ = workers_for_bytes(2 * request.inputs[1]->bytes(), request.threads);
  }

  void run(const Args& args, Worker worker) const override {
    const int64_t position = position_.read(args.inputs[2]);
    if (position < 0 || position > last_) {
      args.fault->store(node_, std::memory_order_relaxed);
      return;
    }
    copy_.run(args.inputs[1], at(args.outputs[0], position * row_bytes_), worker);
  }

 private:
  const ir::Node* node_;
  StridedCopy copy_;
  IndexReader position_;
  int64_t last_, row_bytes_;
};

std::unique_ptr<Kernel> make_cache_update(const device::Request& request) {
  const device::TensorDesc &value = *request.inputs[1], &cache = request.outputs[0];
  const auto copy = StridedCopy::make(value.sizes(), {value.dtype, byte_strides(value)},
                                      {cache.dtype, byte_strides(cache)});
  if (!copy) return nullptr;
  return std::make_unique<CacheUpdateKernel>(request, *copy);
}

}  // namespace

void add_cache_update(KernelTable& table) {
  table.add("cache_update", device::Tier::fast, make_cache_update);
}

}  // namespace ostinato::cpu
