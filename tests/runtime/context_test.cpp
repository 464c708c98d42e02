#include "ostinato/runtime/context.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <mutex>
#include <numeric>

#include "ostinato/base/error.h"
#include "ostinato/ir/builder.h"
#include "ostinato/ops/ops.h"
#include "runtime/hooks.h"
#include "support/separate_device.h"

namespace ostinato::runtime {
namespace {

using ir::Builder;
using ir::Dim;
using ir::Graph;
using ir::Value;

Tensor floats(std::vector<int64_t> shape, float first = 0) {
  Tensor tensor = Tensor::empty(DType::float32, std::move(shape));
  std::iota(tensor.as<float>(), tensor.as<float>() + tensor.numel(), first);
  return tensor;
}

// x (rows, 8) → softmax(x + x), x + x
Graph two_outputs(const char* rows = "rows") {
  Graph graph;
  Builder build(graph, ops::table());
  Value* x = graph.add_input("x", {DType::float32, {Dim::symbol(rows), 8}});
  Value* sum = build("aten.add.Tensor", {x, x});
  graph.add_output("softmax", build("aten._softmax", {sum}, {{"dim", -1}}));
  graph.add_output("sum", sum);
  return graph;
}

std::shared_ptr<const Program> program(Graph graph, Mode mode, int threads = 1,
                                       device::Device& device = device::get("cpu")) {
  return std::make_shared<const Program>(std::move(graph), device,
                                         ProgramOptions{mode, threads, {}});
}

/// In every mode, on a device in host memory and on one with memory of its own.
class EveryMode : public testing::TestWithParam<std::tuple<Mode, bool>> {
 protected:
  static std::shared_ptr<const Program> program() {
    const auto [mode, separate] = GetParam();
    return runtime::program(two_outputs(), mode, 1,
                            separate ? separate_device() : device::get("cpu"));
  }
};

TEST_P(EveryMode, ComputesTheSame) {
  Context context(program());
  const Tensor x = floats({3, 8});
  const auto outputs = context.run({{x}});
  ASSERT_EQ(outputs.size(), 2u);
  EXPECT_THAT(outputs[0].shape(), testing::ElementsAre(3, 8));
  for (int64_t i = 0; i < 24; ++i) EXPECT_EQ(outputs[1].as<float>()[i], 2.0f * float(i));
  // softmax of an arithmetic progression of step 2: the same in every row
  double sum = 0;
  for (int i = 0; i < 8; ++i) sum += std::exp(2.0 * i);
  for (int64_t i = 0; i < 24; ++i) {
    EXPECT_NEAR(outputs[0].as<float>()[i], std::exp(2.0 * double(i % 8)) / sum, 1e-6);
  }
}

TEST_P(EveryMode, LeavesEarlierOutputsAlone) {
  Context context(program());
  const auto first = context.run({{floats({1, 8})}});
  const float kept = first[1].as<float>()[3];
  context.run({{floats({1, 8}, 100)}});
  EXPECT_EQ(first[1].as<float>()[3], kept);
}

TEST_P(EveryMode, NamesAWrongInput) {
  Context context(program());
  const auto message = [](const char* text) {
    return testing::ThrowsMessage<Error>(testing::HasSubstr(text));
  };
  EXPECT_THAT([&] { context.run({{floats({3, 7})}}); }, message("shape (rows, 8) for input 'x'"));
  EXPECT_THAT([&] { context.run({{floats({8})}}); }, message("shape (rows, 8) for input 'x'"));
  EXPECT_THAT([&] { context.run({}); }, message("expected 1 inputs, got 0"));
  const Tensor wrong = Tensor::empty(DType::int64, {3, 8});
  EXPECT_THAT([&] { context.run({{wrong}}); }, message("expected float32 for the input 'x'"));
}

std::string name_of_parameter(const testing::TestParamInfo<std::tuple<Mode, bool>>& info) {
  return std::string(name_of(std::get<0>(info.param))) +
         (std::get<1>(info.param) ? "_separate" : "_cpu");
}

INSTANTIATE_TEST_SUITE_P(
    Modes, EveryMode,
    testing::Combine(testing::Values(Mode::reference, Mode::eager, Mode::graph), testing::Bool()),
    name_of_parameter);

TEST(Context, KeepsTheShapesUsedLast) {
  Context context(program(two_outputs(), Mode::graph), {.capture_limit = 2});
  for (int64_t rows : {1, 2, 1, 3, 1, 2}) context.run({{floats({rows, 8})}});
  // 1 and 2 are captured; 3 evicts 2; 1 is a hit; 2 is captured again and evicts 3.
  EXPECT_EQ(context.counters().captures, 4u);
  EXPECT_EQ(context.counters().evictions, 2u);
}

TEST(Context, TakesAnEmptyDimOnlyWhereTheSymbolMayBeZero) {
  Context context(program(two_outputs("rows"), Mode::graph));
  EXPECT_THAT(
      [&] {
        context.prepare({{"rows", 0}});
      },
      testing::ThrowsMessage<Error>(
          testing::HasSubstr("expected a size of at least 1 for rows, got 0")));
  EXPECT_THROW(context.run({{floats({0, 8})}}), Error);
  Context any(program(two_outputs("_rows"), Mode::graph));
  EXPECT_THAT(any.run({{floats({0, 8})}})[0].shape(), testing::ElementsAre(0, 8));
}

TEST(Context, RefusesACaptureLimitOfZero) {
  EXPECT_THROW(Context(program(two_outputs(), Mode::graph), {.capture_limit = 0}), Error);
}

TEST(Replay, AllocatesLocksAndLooksUpNothing) {
  for (int threads : {1, 2}) {
    Context context(program(two_outputs(), Mode::graph, threads));
    const int64_t rows = 4096;  // enough for several workers
    const Tensor x = floats({rows, 8});
    Executable& executable = context.prepare({{"rows", rows}});
    Tensor softmax = Tensor::empty(DType::float32, {rows, 8}), sum = softmax;
    void* inputs[] = {const_cast<void*>(x.data())};
    void* outputs[] = {softmax.data(), sum.data()};
    executable({inputs, outputs});
    ostinato::test::Watch watch;
    for (int i = 0; i < 100; ++i) executable({inputs, outputs});
    const auto counts = watch.counts();
    EXPECT_EQ(counts.allocations, 0u);
    EXPECT_EQ(counts.locks, 0u);
    EXPECT_EQ(counts.name_look_ups, 0u);
  }
}

// The hooks themselves must see what they are there to see.
TEST(Hooks, SeeAllocationsLocksAndLookUps) {
  const Graph graph = two_outputs();
  std::mutex mutex;
  ostinato::test::Watch watch;
  auto* memory = new std::vector<int>(10);
  mutex.lock();
  mutex.unlock();
  const int64_t dim = graph.outputs()[0].value->producer->integer("dim");
  const auto counts = watch.counts();
  delete memory;
  EXPECT_EQ(dim, -1);
#ifndef OSTINATO_SANITIZED
  EXPECT_GE(counts.allocations, 1u);
  EXPECT_GE(counts.locks, 1u);
#endif
  EXPECT_GE(counts.name_look_ups, 1u);
}

}  // namespace
}  // namespace ostinato::runtime
