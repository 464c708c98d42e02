// Builds a gated layer by hand, checks graph mode against reference mode, and times replays into
// memory that is made once.
//
//   replay [ROWS]
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <random>

#include "ostinato/session.h"

namespace {

using ostinato::DType;
using ostinato::GraphBuilder;
using ostinato::Tensor;
using ostinato::Value;

Tensor random(std::vector<int64_t> shape, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0, 0.1f);
  Tensor tensor = Tensor::empty(DType::float32, std::move(shape));
  for (float& element : tensor.values<float>()) element = normal(engine);
  return tensor;
}

/// y = x + down(silu(gate(n)) · up(n)) with n = rms_norm(x), as in a transformer.
ostinato::Graph gated_layer(int64_t width, int64_t hidden) {
  GraphBuilder build("gated_layer");
  const Value x = build.input("x", DType::float32, {"rows", width});
  const Value normed = build.call("rms_norm", {x, Value()}, {{"eps", 1e-6}});
  const auto linear = [&build](const Value& input, Tensor weight) {
    return build.call("linear", {input, build.constant(std::move(weight)), Value(), Value()});
  };
  const Value gate = linear(normed, random({hidden, width}, 1));
  const Value up = linear(normed, random({hidden, width}, 2));
  const Value down = linear(build.call("swiglu", {gate, up}), random({width, hidden}, 3));
  build.output("y", build.call("aten.add.Tensor", {x, down}));
  return build.build();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const int64_t rows = argc > 1 ? std::atoll(argv[1]) : 8;
    const ostinato::Graph graph = gated_layer(256, 768);
    std::cout << graph.text();

    const std::vector<Tensor> inputs = {random({rows, 256}, 4)};
    ostinato::CompileOptions golden;
    golden.mode = ostinato::Mode::reference;
    ostinato::Session reference(ostinato::Program::compile(graph, golden));
    const Tensor expected = reference.run(inputs).at(0);

    ostinato::Session session(ostinato::Program::compile(graph));
    std::vector<Tensor> outputs = {Tensor::empty(DType::float32, expected.shape())};
    session.run_into(inputs, outputs);  // plans and captures
    float largest = 0;
    for (size_t i = 0; i < expected.values<float>().size(); ++i) {
      largest =
          std::max(largest, std::abs(outputs[0].values<float>()[i] - expected.values<float>()[i]));
    }
    std::cout << "largest difference from reference mode: " << largest << '\n';

    constexpr int kReplays = 100;
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kReplays; ++i) session.run_into(inputs, outputs);
    const std::chrono::duration<double, std::micro> time = std::chrono::steady_clock::now() - start;
    std::cout << time.count() / kReplays << " µs a replay, " << session.counters().captures
              << " capture\n";
    return largest < 1e-4f ? 0 : 1;
  } catch (const ostinato::Error& error) {
    std::cerr << "replay: " << error.what() << '\n';
    return 2;
  }
}
