#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "device/cuda/fake_driver.h"
#include "ostinato/ir/text.h"
#include "ostinato/ops/ops.h"
#include "ostinato/runtime/context.h"
#include "support/expect_error.h"

/// What drawn operands do not show: numbers that are none, places that are named twice, and bad
/// indices.
namespace ostinato::cuda {
namespace {

using testing::ElementsAre;

Tensor floats(std::vector<float> values) {
  Tensor tensor = Tensor::empty(DType::float32, {static_cast<int64_t>(values.size())});
  std::copy(values.begin(), values.end(), tensor.as<float>());
  return tensor;
}
Tensor indices(std::vector<int64_t> values) {
  Tensor tensor = Tensor::empty(DType::int64, {static_cast<int64_t>(values.size())});
  std::copy(values.begin(), values.end(), tensor.as<int64_t>());
  return tensor;
}

class CudaOperators : public testing::Test {
 protected:
  CudaOperators() { use_fake_driver(); }
  ~CudaOperators() override { use_fake_driver(); }

  static std::vector<Tensor> run(std::string_view device, const std::string& text,
                                 std::vector<Tensor> inputs) {
    const ir::Graph graph = ir::parse(text, ops::table());
    runtime::Context context(std::make_shared<const runtime::Program>(
        graph.specialise({}), device::get(device),
        runtime::ProgramOptions{runtime::Mode::graph, 1, {}}));
    return context.run({std::move(inputs)});
  }

  template <typename T>
  static std::vector<T> values(const Tensor& tensor) {
    return {tensor.as<T>(), tensor.as<T>() + tensor.numel()};
  }
};

TEST_F(CudaOperators, SortNansLastAndKeepTheOrderOfEquals) {
  const float nan = std::nanf(""), infinity = INFINITY;
  const std::vector<float> line = {0.0f, nan, -1, -0.0f, infinity, -nan, -infinity, 0.0f, 1e-42f};
  for (const bool descending : {false, true}) {
    const std::string text = fmt::format(R"(ostinato.graph 1 "sorted"
input %0 "x" : float32(9)
%1 : float32(9), %2 : int64(9) = aten.sort(%0) {{dim=-1, descending={}}}
output "values" %1
output "places" %2
)",
                                         descending);
    const auto got = run("cuda:0", text, {floats(line)});
    const auto expected = run("cpu", text, {floats(line)});
    EXPECT_EQ(values<int64_t>(got[1]), values<int64_t>(expected[1]));
    for (size_t i = 0; i < line.size(); ++i) {
      const float a = got[0].as<float>()[i], b = expected[0].as<float>()[i];
      EXPECT_TRUE(std::memcmp(&a, &b, sizeof(a)) == 0 || (std::isnan(a) && std::isnan(b))) << i;
    }
  }
}

TEST_F(CudaOperators, WriteTheLastOfEqualIndices) {
  const auto got = run("cuda:0", R"(ostinato.graph 1 "written"
input %0 "x" : float32(3)
input %1 "i" : int64(4)
input %2 "v" : float32(4)
%3 : float32(3) = aten.index_put(%0, [%1], %2) {accumulate=false}
%4 : float32(3) = aten.index_put(%0, [%1], %2) {accumulate=true}
output "put" %3
output "added" %4
)",
                       {floats({1, 2, 3}), indices({2, 0, -1, 0}), floats({10, 20, 30, 40})});
  EXPECT_THAT(values<float>(got[0]), ElementsAre(40, 2, 30));
  EXPECT_THAT(values<float>(got[1]), ElementsAre(61, 2, 43));
}

TEST_F(CudaOperators, NameBadIndices) {
  const auto text = [](std::string_view call) {
    return fmt::format(R"(ostinato.graph 1 "bad"
input %0 "x" : float32(3)
input %1 "i" : int64(1)
input %2 "v" : float32(1)
%3 : float32({}) = {}
output "y" %3
)",
                       call.starts_with("aten.gather") || call.starts_with("aten.index.") ? 1 : 3,
                       call);
  };
  for (const std::string_view call :
       {"aten.gather(%0, %1) {dim=0}", "aten.index.Tensor(%0, [%1])",
        "aten.index_put(%0, [%1], %2) {accumulate=true}", "aten.scatter.src(%0, %1, %2) {dim=0}",
        "aten.scatter_add(%0, %1, %2) {dim=0}", "aten.scatter.value(%0, %1) {dim=0, value=1}",
        "aten.scatter_reduce.two(%0, %1, %2) {dim=0, reduce=\"sum\"}"}) {
    for (const int64_t bad : {3, -4}) {
      expect_error(
          [&] {
            run("cuda:0", text(call), {floats({1, 2, 3}), indices({bad}), floats({5})});
          },
          ErrorCode::invalid_argument, std::string(call.substr(0, call.find('('))));
    }
  }
}

TEST_F(CudaOperators, NameMasksWithoutEnoughValues) {
  const std::string text = R"(ostinato.graph 1 "masked"
input %0 "x" : float32(3)
input %1 "m" : bool(3)
input %2 "v" : float32(2)
%3 : float32(3) = aten.masked_scatter(%0, %1, %2)
output "y" %3
)";
  Tensor mask = Tensor::empty(DType::boolean, {3});
  std::fill_n(mask.as<bool>(), 3, true);
  expect_error(
      [&] {
        run("cuda:0", text, {floats({1, 2, 3}), mask, floats({7, 8})});
      },
      ErrorCode::invalid_argument, "run/aten.masked_scatter");
  mask.as<bool>()[1] = false;
  EXPECT_THAT(values<float>(run("cuda:0", text, {floats({1, 2, 3}), mask, floats({7, 8})})[0]),
              ElementsAre(7, 2, 8));
}

}  // namespace
}  // namespace ostinato::cuda
