#include <cstdlib>

#include "device/cuda/fake_driver.h"
#include "device/kernel_case.h"
#include "ostinato/device/cuda/kernel.h"

namespace ostinato::cpu {

device::Device* device_under_test() {
  static device::Device* const device = [] {
    if (std::getenv("OSTINATO_TEST_GPU") == nullptr) cuda::use_fake_driver();
    return &device::get("cuda");
  }();
  return device;
}

std::vector<Isa> isas_under_test() { return {isa()}; }

namespace {

/// After all tests: every operator with a kernel was held to the reference kernels.
class EveryOperatorRan : public testing::Environment {
 public:
  void TearDown() override {
    if (testing::UnitTest::GetInstance()->test_to_run_count() !=
        testing::UnitTest::GetInstance()->total_test_count()) {
      return;  // a filter left some out
    }
    for (const std::string_view op : cuda::operators()) {
      EXPECT_GT(runs_on_device(op), 0u) << op << " has a kernel that no case ran";
    }
  }
};

const auto* const environment = testing::AddGlobalTestEnvironment(new EveryOperatorRan);

}  // namespace

}  // namespace ostinato::cpu
