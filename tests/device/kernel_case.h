#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ostinato/device/cpu/isa.h"
#include "ostinato/device/device.h"
#include "ostinato/ir/attribute.h"
#include "ostinato/tensor.h"

/// Kernels of the CPU against the reference kernels, on random operands.
namespace ostinato::cpu {

/// How an operand lies in memory: row-major; with the last two dims swapped; every other element of
/// the last dim of something larger; its first dim one element repeated.
enum class Storage { contiguous, permuted, sliced, expanded };

/// One operand to be drawn: floats from a normal distribution, scaled and moved; integers evenly
/// from [low, high).
struct Draw {
  DType dtype = DType::float32;
  std::vector<int64_t> sizes = {};
  Storage storage = Storage::contiguous;
  double scale = 1, shift = 0;
  int64_t low = -5, high = 6;
  bool constant = false;  ///< known when the kernel is prepared
};

struct KernelCase {
  std::string_view op;
  std::vector<std::optional<Draw>> operands;  ///< nullopt for None
  std::vector<ir::NamedAttribute> attributes = {};
  std::string_view kind = "elementwise";  ///< of tolerance
  bool slow = false;  ///< not for AMX, where an emulated instruction takes microseconds
};

/// Whose fast kernels the cases run: null for the CPU's, on every level of instructions. Each test
/// program has its own of this function.
device::Device* device_under_test();

/// The levels of instructions that the cases run on; each test program has its own of this, too.
std::vector<Isa> isas_under_test();

/// Runs a test with kernels limited to each of those levels, which its failures name.
void for_each_isa(const std::function<void(Isa level)>& test);

/// How often an operator's cases ran on that device's kernels.
size_t runs_on_device(std::string_view op);

/// Runs the case on both tiers, the fast one on every level of instructions, on one thread and on
/// several, and expects equal results within the tolerances of their dtypes, and nothing written
/// outside of them.
void expect_fast_equals_reference(const KernelCase& test);

/// Tests that run for every floating dtype.
class KernelTest : public testing::TestWithParam<DType> {
 protected:
  DType dtype() const { return GetParam(); }
};

#define OSTINATO_KERNEL_TESTS(Suite)                                                \
  INSTANTIATE_TEST_SUITE_P(                                                         \
      Cpu, Suite, testing::Values(DType::float32, DType::bfloat16, DType::float16), \
      [](const testing::TestParamInfo<DType>& info) { return std::string(name_of(info.param)); })

}  // namespace ostinato::cpu
