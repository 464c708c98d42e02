#include <gmock/gmock.h>

#include "ostinato/device/cpu/kernel.h"
#include "ostinato/ops/ops.h"

namespace ostinato::cpu {
namespace {

// Every operator has a fast kernel but those that passes make for other devices only; and all but
// the fused ones, which expand, have a reference kernel.
TEST(Coverage, EveryOperatorHasItsKernels) {
  std::vector<std::string_view> without_fast, without_reference;
  for (const ir::OpRow* row : ops::table().rows()) {
    if (kernels().find(row->name, device::Tier::fast) == nullptr) {
      without_fast.push_back(row->name);
    }
    if (kernels().find(row->name, device::Tier::reference) == nullptr && row->expand == nullptr) {
      without_reference.push_back(row->name);
    }
  }
  EXPECT_THAT(without_fast, testing::ElementsAre("norm_gated_linear", "norm_linears"));
  EXPECT_THAT(without_reference, testing::IsEmpty());
}

// What a report calls a fallback. A kernel of its own takes an operator off this list.
TEST(Coverage, FallbacksAreKnownByName) {
  std::vector<std::string_view> fallbacks;
  for (const ir::OpRow* row : ops::table().rows()) {
    if (device::get("cpu").falls_back(*row)) fallbacks.push_back(row->name);
  }
  EXPECT_THAT(fallbacks,
              testing::ElementsAre("aten._adaptive_avg_pool2d", "aten.adaptive_avg_pool2d",
                                   "aten.avg_pool2d", "aten.histc", "aten.linalg_solve_triangular",
                                   "aten.masked_scatter", "aten.max_pool2d_with_indices",
                                   "aten.scatter_reduce.two", "aten.tril", "aten.triu",
                                   "aten.upsample_bicubic2d", "aten.upsample_bilinear2d",
                                   "aten.upsample_nearest2d"));
}

}  // namespace
}  // namespace ostinato::cpu
