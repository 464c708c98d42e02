#include "support/random_chains.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "ostinato/base/error.h"
#include "ostinato/ir/text.h"
#include "ostinato/ops/ops.h"
#include "ostinato/runtime/context.h"
#include "support/random_graph.h"
#include "support/seeds.h"

namespace ostinato::runtime {
namespace {

struct Outcome {
  std::vector<Tensor> outputs;  ///< in float32
  std::string graph;            ///< as the mode's passes left it
  bool selects_early = false;   ///< a pass took rows in front of what computes them
};

Outcome run(ir::Graph graph, Mode mode, const std::vector<Tensor>& inputs) {
  const auto program = std::make_shared<const Program>(std::move(graph), device::get("cpu"),
                                                       ProgramOptions{mode, 1, {}});
  Context context(program);
  Outcome outcome;
  for (const Tensor& output : context.run(inputs)) {
    outcome.outputs.push_back(output.to(DType::float32));
  }
  outcome.graph = print(program->graph());
  for (const passes::PassReport& pass : program->passes()) {
    outcome.selects_early |= pass.changed && pass.name == "select_early";
  }
  return outcome;
}

/// The largest magnitude, and how far two others lie from it at most, where both are finite.
struct Distance {
  double size = 0, got = 0, plain = 0;
  bool lost = false;  ///< a number that is none in the first of the others only
};

Distance distance(const Tensor& golden, const Tensor& got, const Tensor& plain) {
  Distance found;
  for (int64_t i = 0; i < golden.numel(); ++i) {
    const double g = golden.as<float>()[i], p = plain.as<float>()[i], x = got.as<float>()[i];
    if (!std::isfinite(g) || !std::isfinite(p)) continue;
    found.size = std::max(found.size, std::abs(g));
    found.plain = std::max(found.plain, std::abs(p - g));
    found.got = std::max(found.got, std::abs(x - g));
    found.lost |= !std::isfinite(x);
  }
  return found;
}

/// Calls of fused operators in graphs of fixed sizes, by what is printed of them.
using Fused = std::map<std::string, size_t>;

// The graph lane against the reference lane without passes: it may be off by a few times what
// rounding to the dtype does to the latter, which the same graph in float32 tells.
void check_chains(uint32_t seed, DType dtype, Fused& fused) {
  const std::map<DType, double> roundings = {
      {DType::float32, 5e-4}, {DType::float16, 4e-3}, {DType::bfloat16, 3e-2}};
  const ir::Graph exact = random_chains(ops::table(), seed, DType::float32);
  const ir::Graph graph = random_chains(ops::table(), seed, dtype);
  const bool symbolic = !graph.symbols().empty();
  for (const ir::Bindings& bindings : random_bindings()) {
    const auto golden =
        run(exact.specialise({}), Mode::reference, random_inputs(exact, bindings, seed));
    const auto inputs = random_inputs(graph, bindings, seed);
    const auto plain = run(graph.specialise({}), Mode::reference, inputs);
    const auto got = run(graph.specialise({}), Mode::graph, inputs);
    ASSERT_EQ(got.outputs.size(), golden.outputs.size());
    for (size_t i = 0; i < got.outputs.size(); ++i) {
      const Distance off = distance(golden.outputs[i], got.outputs[i], plain.outputs[i]);
      const double most = 4 * off.plain + roundings.at(dtype) * (1 + off.size);
      ASSERT_TRUE(!off.lost && off.got <= most)
          << "output " << i << ": off by " << off.got << ", may be " << most << "\n"
          << print(graph) << got.graph;
    }
    if (symbolic) continue;
    for (const char* name :
         {"= rms_norm(", "= layer_norm(", "= rotary(", "= rotary_pair(", "= attention(",
          "= linear(", "= linears(", "= gated_linear(", "= aten.gelu(", "\"quick_gelu\""}) {
      fused[name] += got.graph.find(name) != std::string::npos;
    }
    fused["select_early"] += got.selects_early;
    return;
  }
}

TEST(Passes, KeepWhatRandomChainsMean) {
  constexpr DType kDTypes[] = {DType::float32, DType::bfloat16, DType::float16};
  Fused fused;
  const uint32_t count = seed_count(300);
  for (uint32_t seed = 0; seed < count; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    check_chains(seed, kDTypes[seed % 3], fused);
    if (HasFatalFailure()) return;
  }
  for (const auto& [name, times] : fused) EXPECT_GT(times, count / 200) << name;
}

// A chain so deep that rounding to 16 bits moves it by more than the bound: what it means shows in
// float32.
TEST(Passes, KeepWhatADeepChainMeans) {
  Fused fused;
  check_chains(11060, DType::float32, fused);
}

}  // namespace
}  // namespace ostinato::runtime
