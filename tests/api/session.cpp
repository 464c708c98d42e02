#include "ostinato/session.h"

#include <cmath>
#include <numeric>
#include <thread>

#include "support/expect_error.h"

namespace ostinato {
namespace {

using testing::ElementsAre;

constexpr Mode kModes[] = {Mode::reference, Mode::eager, Mode::graph};

// x (batch, 3) → y = x · wᵀ + 1, largest = max over each row of y
Graph linear() {
  GraphBuilder build("linear");
  const Value x = build.input("x", DType::float32, {"batch", 3});
  const Value w = build.constant(Tensor::of<float>({2, 3}, {1, 0, -1, 2, 2, 2}), "w");
  const Value b = build.constant(Tensor::of<float>({2}, {1, 1}));
  const Value y = build.call("linear", {x, w, b, Value()});
  build.output("y", y);
  build.output("largest", build.call("aten.amax", {y}, {{"dim", {-1}}}));
  return build.build();
}

CompileOptions one_thread(Mode mode) { return {.mode = mode, .threads = 1}; }

std::vector<float> floats(const Tensor& tensor) {
  const std::span<const float> values = tensor.values<float>();
  return {values.begin(), values.end()};
}

TEST(Session, ComputesByHandInEveryMode) {
  for (Mode mode : kModes) {
    Session session(Program::compile(linear(), one_thread(mode)));
    const std::vector<Tensor> outputs =
        session.run({Tensor::of<float>({2, 3}, {1, 2, 3, 0, 0, 5})});
    ASSERT_EQ(outputs.size(), 2u) << name_of(mode);
    EXPECT_THAT(outputs[0].shape(), ElementsAre(2, 2));
    EXPECT_THAT(floats(outputs[0]), ElementsAre(-1, 13, -4, 11)) << name_of(mode);
    EXPECT_THAT(floats(outputs[1]), ElementsAre(13, 11)) << name_of(mode);
  }
}

TEST(Session, TakesInputsByName) {
  Session session(Program::compile(linear()));
  const Tensor x = Tensor::of<float>({1, 3}, {1, 2, 3});
  const NamedTensors outputs = session.run_named({{"x", x}});
  EXPECT_THAT(floats(outputs.at("y")), ElementsAre(-1, 13));
  EXPECT_THAT(floats(outputs.at("largest")), ElementsAre(13));
  expect_error(
      [&] {
        session.run_named({{"y", x}});
      },
      ErrorCode::invalid_argument, "The inputs are: x.");
  expect_error(
      [&] {
        session.run_named({{"x", x}, {"z", x}});
      },
      ErrorCode::invalid_argument, "no input 'z'");
}

TEST(Session, NamesAWrongInput) {
  for (Mode mode : kModes) {
    Session session(Program::compile(linear(), one_thread(mode)));
    const auto bad = [&](const std::vector<Tensor>& inputs, const char* part) {
      expect_error([&] { session.run(inputs); }, ErrorCode::invalid_argument, part);
    };
    bad({}, "expected 1 inputs, got 0");
    bad({Tensor()}, "'x', got an undefined tensor");
    bad({Tensor::of<float>({3}, {1, 2, 3})}, "(batch, 3) for input 'x', got (3)");
    bad({Tensor::of<float>({1, 2}, {1, 2})}, "(batch, 3) for input 'x', got (1, 2)");
    bad({Tensor::of<int64_t>({1, 3}, {1, 2, 3})}, "expected float32 for the input 'x', got int64");
    EXPECT_EQ(session.run({Tensor::of<float>({1, 3}, {1, 2, 3})}).size(), 2u);  // still good
  }
}

TEST(Session, WritesIntoTheCallersMemory) {
  for (Mode mode : kModes) {
    Session session(Program::compile(linear(), one_thread(mode)));
    const std::vector<Tensor> inputs = {Tensor::of<float>({1, 3}, {1, 2, 3})};
    std::vector<Tensor> outputs = {Tensor::empty(DType::float32, {1, 2}),
                                   Tensor::empty(DType::float32, {1})};
    const void* memory = outputs[0].data();
    session.run_into(inputs, outputs);
    EXPECT_EQ(outputs[0].data(), memory);
    EXPECT_THAT(floats(outputs[0]), ElementsAre(-1, 13));
    EXPECT_THAT(floats(outputs[1]), ElementsAre(13));

    const auto bad = [&](std::vector<Tensor> wrong, const char* part) {
      expect_error([&] { session.run_into(inputs, wrong); }, ErrorCode::invalid_argument, part);
    };
    bad({outputs[0]}, "expected 2 outputs, got 1");
    bad({outputs[0], Tensor()}, "the output 'largest', got an undefined tensor");
    bad({outputs[1], outputs[1]}, "expected float32(1, 2) for the output 'y', got float32(1)");
    bad({Tensor::empty(DType::int32, {1, 2}), outputs[1]}, "got int32(1, 2)");
    Tensor inside = Tensor::borrow(outputs[0].as<float>() + 1, DType::float32, {1}, nullptr);
    bad({outputs[0], inside}, "the output 'largest' shares memory");
    Tensor input = inputs[0];
    bad({outputs[0], Tensor::borrow(input.as<float>() + 2, DType::float32, {1}, nullptr)},
        "the output 'largest' shares memory");
  }
}

TEST(Session, LeavesEarlierOutputsAlone) {
  Session session(Program::compile(linear()));
  const Tensor first = session.run({Tensor::of<float>({1, 3}, {1, 2, 3})}).at(0);
  session.run({Tensor::of<float>({1, 3}, {7, 7, 7})});
  EXPECT_THAT(floats(first), ElementsAre(-1, 13));
}

TEST(Session, KeepsStatesBetweenCalls) {
  GraphBuilder build("cache");
  const Value cache = build.state("cache", DType::float32, {1, 1, 3, 2});
  const Value value = build.input("value", DType::float32, {1, 1, "s", 2});
  const Value position = build.input("position", DType::int64, {});
  build.output("held", build.call("cache_update", {cache, value, position}));
  const Graph graph = build.build();
  EXPECT_EQ(graph.states().at(0).str(), "cache: float32(1, 1, 3, 2)");
  const auto at = [](int64_t position) { return Tensor::of<int64_t>({}, {position}); };
  for (Mode mode : kModes) {
    Session session(Program::compile(graph, one_thread(mode)));
    session.run({Tensor::of<float>({1, 1, 2, 2}, {1, 2, 3, 4}), at(0)});
    const Tensor one = Tensor::of<float>({1, 1, 1, 2}, {5, 6});
    EXPECT_THAT(floats(session.run({one, at(2)}).at(0)), ElementsAre(1, 2, 3, 4, 5, 6));
    session.reset_states();
    EXPECT_THAT(floats(session.run({one, at(1)}).at(0)), ElementsAre(0, 0, 5, 6, 0, 0));
    expect_error([&] { session.run({one, at(3)}); }, ErrorCode::invalid_argument, "cache_update");
  }
}

TEST(Session, CountsCaptures) {
  Session session(Program::compile(linear()), {.capture_limit = 2});
  for (int64_t batch : {1, 2, 1, 3, 1, 2}) session.run({Tensor::empty(DType::float32, {batch, 3})});
  EXPECT_EQ(session.counters().captures, 4u);
  EXPECT_EQ(session.counters().evictions, 2u);
  expect_error([] { Session(Program::compile(linear()), {.capture_limit = 0}); },
               ErrorCode::invalid_argument, "capture limit");
}

TEST(Session, OnceMovedFromSaysSo) {
  Session session(Program::compile(linear()));
  Session moved = std::move(session);
  EXPECT_EQ(moved.run({Tensor::of<float>({1, 3}, {1, 2, 3})}).size(), 2u);
  expect_error([&] { session.run({}); },  // NOLINT(bugprone-use-after-move)
               ErrorCode::invalid_argument, "expected a session, got one that was moved from");
}

TEST(Program, TellsItsSignatureAndOptions) {
  Program program = Program::compile(linear(), {.threads = 2, .passes_off = {"fold_views"}});
  EXPECT_EQ(program.inputs().at(0).str(), "x: float32(batch, 3)");
  EXPECT_EQ(program.outputs().at(1).str(), "largest: float32(batch)");
  EXPECT_EQ(program.options().device, "cpu");
  EXPECT_EQ(program.options().mode, Mode::graph);
  EXPECT_EQ(program.options().threads, 2);
  EXPECT_THAT(program.options().passes_off, ElementsAre("fold_views"));
  const Program moved = std::move(program);
  EXPECT_EQ(moved.graph().name(), "linear");
  expect_error([&] { program.inputs(); },  // NOLINT(bugprone-use-after-move)
               ErrorCode::invalid_argument, "expected a program, got one that was moved from");
}

TEST(Program, ExpandsFusedOperatorsForReference) {
  EXPECT_THAT(Program::compile(linear(), one_thread(Mode::reference)).graph().text(),
              testing::Not(testing::HasSubstr(" linear(")));
  EXPECT_THAT(Program::compile(linear(), one_thread(Mode::eager)).graph().text(),
              testing::HasSubstr(" linear("));
}

TEST(Program, NamesABadOption) {
  const auto bad = [](const CompileOptions& options, ErrorCode code, const char* part) {
    expect_error([&] { Program::compile(linear(), options); }, code, part);
  };
  bad({.device = "abacus"}, ErrorCode::not_found, "Devices of this build: cpu");
  bad({.threads = -1}, ErrorCode::invalid_argument, "got -1");
  bad({.threads = 1025}, ErrorCode::invalid_argument, "got 1025");
  for (Mode mode : kModes) {
    bad({.mode = mode, .passes_off = {"fold"}}, ErrorCode::invalid_argument, "no pass 'fold'");
  }
}

TEST(Program, RefusesConstantsWithoutElements) {
  expect_error([] { Program::compile(Graph::parse(linear().text())); }, ErrorCode::not_found,
               "the constant 'w' of float32(2, 3)");
}

TEST(Mode, HasNames) {
  for (Mode mode : kModes) EXPECT_EQ(mode_of(name_of(mode)), mode);
  expect_error([] { mode_of("fast"); }, ErrorCode::invalid_argument, "reference, eager or graph");
}

TEST(Threads, ShareAProgram) {
  const Program program = Program::compile(linear(), {.threads = 1});
  const auto work = [&program](float first, std::vector<float>& result) {
    Session session(program);
    for (int i = 0; i < 100; ++i) {
      result = floats(session.run({Tensor::of<float>({1, 3}, {first, 2, 3})}).at(0));
    }
  };
  std::vector<float> one, two;
  std::thread thread(work, 1.0f, std::ref(one));
  work(5.0f, two);
  thread.join();
  EXPECT_THAT(one, ElementsAre(-1, 13));
  EXPECT_THAT(two, ElementsAre(3, 21));
}

}  // namespace
}  // namespace ostinato
