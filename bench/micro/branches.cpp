// Two independent branches of a graph: one after the other, each step on as many threads as it pays
// for; as the planner has it, which puts them side by side or does not; and side by side whatever
// it says, a thread to each: two programs, with a stream and an arena each. The first two also
// in turns, with so long between that the threads sleep: medians, and that of the pairs' ratios.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>

#include "graphs.h"
#include "ostinato/base/threads.h"
#include "ostinato/runtime/context.h"

namespace ostinato {
namespace {

/// Layers of a transformer's MLP on so many rows.
struct Tower {
  int rows, width, layers;
};

void add_tower(Statements& graph, const Tower& tower) {
  const auto [rows, width, layers] = tower;
  const std::string narrow = type_of("float32", {rows, width}),
                    wide = type_of("float32", {rows, 4 * width});
  std::string x = graph.input(narrow);
  for (int layer = 0; layer < layers; ++layer) {
    const std::string up = graph.constant(type_of("float32", {4 * width, width})),
                      down = graph.constant(type_of("float32", {width, 4 * width}));
    const std::string norm =
        graph.call({narrow}, fmt::format("layer_norm({}, None, None) {{eps=1e-06}}", x))[0];
    const std::string hidden = graph.call(
        {wide}, fmt::format("linear({}, {}, None, None) {{activation=\"gelu\"}}", norm, up))[0];
    x = graph.call({narrow}, fmt::format("linear({}, {}, None, {})", hidden, down, x))[0];
  }
  graph.output(x);
}

/// A graph on threads of its own, and memory for a call.
struct Lane {
  Lane(const std::string& text, int threads, bool branches)
      : program(std::make_shared<const runtime::Program>(make_graph(text), device::get("cpu"),
                                                         options(threads, branches))),
        context(program),
        inputs(random_inputs(program->graph())),
        outputs(context.run(inputs)) {}

  static runtime::ProgramOptions options(int threads, bool branches) {
    runtime::ProgramOptions options{Mode::graph, threads, {}};
    options.branches = branches;
    return options;
  }

  void run() { context.run_into(inputs, outputs); }

  std::shared_ptr<const runtime::Program> program;
  runtime::Context context;
  std::vector<Tensor> inputs, outputs;
};

std::string of_both(const Tower& a, const Tower& b) {
  Statements graph;
  add_tower(graph, a);
  add_tower(graph, b);
  return graph.text();
}

std::string of_one(const Tower& tower) {
  Statements graph;
  add_tower(graph, tower);
  return graph.text();
}

void planned(benchmark::State& state, const Tower& a, const Tower& b, bool branches) {
  Lane lane(of_both(a, b), default_threads(), branches);
  for (auto _ : state) lane.run();
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

void asleep(benchmark::State& state, const Tower& a, const Tower& b) {
  using Clock = std::chrono::steady_clock;
  Lane serial(of_both(a, b), default_threads(), false);
  Lane planned(of_both(a, b), default_threads(), true);
  const auto microseconds = [](Lane& lane) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const auto start = Clock::now();
    lane.run();
    return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
  };
  std::vector<double> serial_us, planned_us, ratios;
  for (auto _ : state) {
    const bool turned = serial_us.size() % 2 != 0;
    if (turned) planned_us.push_back(microseconds(planned));
    serial_us.push_back(microseconds(serial));
    if (!turned) planned_us.push_back(microseconds(planned));
    ratios.push_back(planned_us.back() / serial_us.back());
  }
  state.counters["serial_us"] = median(serial_us);
  state.counters["planned_us"] = median(planned_us);
  state.counters["ratio"] = median(ratios);
}

void beside(benchmark::State& state, const Tower& a, const Tower& b) {
  Lane lanes[] = {{of_one(a), 1, false}, {of_one(b), 1, false}};
  ThreadTeam team(2);
  for (auto _ : state) team.run([&](Worker worker) { lanes[worker.index].run(); });
}

const bool registered = [] {
  const std::pair<Tower, Tower> pairs[] = {
      {{1, 64, 12}, {1, 64, 12}},      {{4, 64, 12}, {4, 64, 12}},
      {{4, 128, 12}, {4, 128, 12}},    {{16, 128, 12}, {16, 128, 12}},
      {{16, 256, 12}, {16, 256, 12}},  {{50, 512, 12}, {50, 512, 12}},
      {{197, 768, 12}, {77, 512, 12}},  // CLIP-B/16
  };
  for (const auto& [a, b] : pairs) {
    const std::string name = fmt::format("branches/{}x{},{}x{}/", a.rows, a.width, b.rows, b.width);
    const auto add = [&, a = a, b = b](const char* lane, auto run, auto... branches) {
      return benchmark::RegisterBenchmark((name + lane).c_str(), run, a, b, branches...);
    };
    add("serial", &planned, false)->UseRealTime();
    add("planned", &planned, true)->UseRealTime();
    add("beside", &beside)->UseRealTime();
    add("asleep", &asleep)->Iterations(400);
  }
  return true;
}();

}  // namespace
}  // namespace ostinato
