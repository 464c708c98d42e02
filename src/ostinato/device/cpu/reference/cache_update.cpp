#include "ostinato/device/cpu/reference/copy.h"

namespace ostinato::cpu::reference {

namespace {

// The result is the cache itself, in place.
void cache_update(const Call& call) {
  const View &value = call.inputs[1], &cache = call.outputs[0];
  const int64_t position = call.inputs[2].get_integer(0);
  if (position < 0 || position > cache.size(2) - value.size(2)) {
    call.fault->store(&call.node, std::memory_order_relaxed);
    return;
  }
  copy(Part(cache, position * cache.strides()[2], cache.strides()), Part(value), value.sizes());
}

}  // namespace

void add_cache_update(KernelTable& table) {
  table.add("cache_update", device::Tier::reference, make<cache_update>);
}

}  // namespace ostinato::cpu::reference
