#include "ostinato/device/cpu/kernel.h"

#include <algorithm>

#include "ostinato/base/error.h"
#include "ostinato/device/cpu/isa.h"
#include "ostinato/device/cpu/kernels/kernels.h"
#include "ostinato/device/cpu/reference/reference.h"

namespace ostinato::cpu {

int workers_for(double microseconds, int threads) {
  constexpr double kWorthOneMore = 4.0;  // several times what a barrier costs
  return std::clamp(static_cast<int>(microseconds / kWorthOneMore), 1, threads);
}

int workers_for_bytes(size_t bytes, int threads) {
  constexpr double kBytesPerMicrosecond = 10e3;
  return workers_for(static_cast<double>(bytes) / kBytesPerMicrosecond, threads);
}

void KernelTable::add(std::string_view op, device::Tier tier, Factory make) {
  if (!rows_.emplace(std::pair(op, tier), make).second) {
    fail(ErrorCode::internal, "device/cpu", "Give each operator one kernel a tier.",
         "{} has two kernels", op);
  }
}

Factory KernelTable::find(std::string_view op, device::Tier tier) const {
  const auto it = rows_.find(std::pair(op, tier));
  return it == rows_.end() ? nullptr : it->second;
}

const KernelTable& kernels() {
  static const KernelTable instance = [] {
    isa();  // chooses what the fast kernels' factories choose from
    KernelTable table;
    reference::add_binary(table);
    reference::add_cache_update(table);
    reference::add_cast(table);
    reference::add_compare(table);
    reference::add_concat(table);
    reference::add_convolution(table);
    reference::add_create(table);
    reference::add_index(table);
    reference::add_linear(table);
    reference::add_matmul(table);
    reference::add_normalization(table);
    reference::add_pool(table);
    reference::add_reduce(table);
    reference::add_scan(table);
    reference::add_softmax(table);
    reference::add_sort(table);
    reference::add_unary(table);
    reference::add_upsample(table);
    reference::add_view(table);
    add_attention(table);
    add_binary(table);
    add_cache_update(table);
    add_compare(table);
    add_concat(table);
    add_convolution(table);
    add_create(table);
    add_fused_elementwise(table);
    add_index(table);
    add_layer_norm(table);
    add_linear(table);
    add_matmul(table);
    add_normalization(table);
    add_reduce(table);
    add_rotary(table);
    add_rotary_pair(table);
    add_scan(table);
    add_softmax(table);
    add_sort(table);
    add_unary(table);
    add_view(table);
    reuse_reference(table);
    return table;
  }();
  return instance;
}

}  // namespace ostinato::cpu
