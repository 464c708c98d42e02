#include <gmock/gmock.h>

#include "ostinato/device/cpu/kernel.h"
#include "ostinato/ops/ops.h"

namespace ostinato::cpu {
namespace {

// Matrix products, convolutions and attention get theirs from oneDNN.
constexpr std::string_view kProducts[] = {"aten.addmm",
                                          "aten.baddbmm",
                                          "aten.bmm",
                                          "aten.convolution",
                                          "aten.dot",
                                          "aten.linear",
                                          "aten.matmul",
                                          "aten.mm",
                                          "aten.mv",
                                          "aten.scaled_dot_product_attention",
                                          "attention",
                                          "linear",
                                          "transformers.grouped_mm_fallback"};

// Every operator has a fast kernel, and all but the fused ones, which expand, a reference kernel.
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
  EXPECT_THAT(without_fast, testing::IsSubsetOf(kProducts));
  EXPECT_THAT(without_reference, testing::IsEmpty());
}

}  // namespace
}  // namespace ostinato::cpu
