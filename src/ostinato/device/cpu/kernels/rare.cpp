#include <array>

#include "ostinato/device/cpu/kernels/kernels.h"

namespace ostinato::cpu {

namespace {

// Seen once in a model, on little data, or at constants that are folded: a kernel of their own
// would not be noticed.
constexpr std::array<std::string_view, 13> kRare = {
    "aten._adaptive_avg_pool2d",
    "aten.adaptive_avg_pool2d",
    "aten.avg_pool2d",
    "aten.histc",
    "aten.linalg_solve_triangular",
    "aten.masked_scatter",
    "aten.max_pool2d_with_indices",
    "aten.scatter_reduce.two",
    "aten.tril",
    "aten.triu",
    "aten.upsample_bicubic2d",
    "aten.upsample_bilinear2d",
    "aten.upsample_nearest2d",
};

}  // namespace

void reuse_reference(KernelTable& table) {
  for (const std::string_view name : kRare) {
    table.add(name, device::Tier::fast, table.find(name, device::Tier::reference));
  }
}

}  // namespace ostinato::cpu
