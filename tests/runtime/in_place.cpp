#include <gtest/gtest.h>

#include <cstring>

#include "ostinato/base/error.h"
#include "ostinato/ir/text.h"
#include "ostinato/ops/ops.h"
#include "ostinato/runtime/context.h"
#include "support/random_graph.h"
#include "support/same.h"
#include "support/seeds.h"

namespace ostinato::runtime {
namespace {

struct Outcome {
  std::vector<Tensor> outputs;
  size_t in_inputs = 0, arena_bytes = 0;
};

/// Copies of the inputs, which a run may write over.
std::vector<Tensor> copies(const std::vector<Tensor>& tensors) {
  std::vector<Tensor> result;
  for (const Tensor& tensor : tensors) {
    Tensor copy = Tensor::empty(tensor.dtype(), tensor.shape());
    std::memcpy(copy.data(), tensor.data(), tensor.bytes());
    result.push_back(std::move(copy));
  }
  return result;
}

/// One call, of which an output may come to stand in an input; nothing if it fails.
Outcome run(const ir::Graph& graph, const ir::Bindings& bindings, const std::vector<Tensor>& given,
            const ProgramOptions& options) {
  Outcome outcome;
  try {
    Context context(
        std::make_shared<const Program>(graph.specialise({}), device::get("cpu"), options));
    Executable& executable = context.prepare(bindings);
    plan::check_plan(executable.plan());
    const std::vector<Tensor> inputs = copies(given);
    std::vector<void*> input_pointers, output_pointers;
    for (const Tensor& input : inputs) input_pointers.push_back(const_cast<void*>(input.data()));
    for (size_t i = 0; i < executable.outputs().size(); ++i) {
      const ir::ValueType& type = executable.outputs()[i];
      Tensor memory = Tensor::empty(type.dtype, to_integers(type.shape));
      if (executable.plan().in_input[i]) {
        const auto pair = std::find_if(options.donations.begin(), options.donations.end(),
                                       [i](const auto& donation) { return donation.output == i; });
        memory = inputs[pair->input];
        ++outcome.in_inputs;
      }
      output_pointers.push_back(executable.plan().in_input[i] ? nullptr : memory.data());
      outcome.outputs.push_back(std::move(memory));
    }
    executable({input_pointers, output_pointers});
    outcome.arena_bytes = executable.plan().arena_bytes;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) throw;
    return {};  // no kernel for these dtypes, or an index out of range
  }
  return outcome;
}

/// Every input that has the type of an output, each given to one.
std::vector<plan::Donation> donations(const ir::Graph& graph) {
  std::vector<plan::Donation> pairs;
  for (size_t i = 0; i < graph.inputs().size(); ++i) {
    for (size_t o = 0; o < graph.outputs().size(); ++o) {
      if (graph.outputs()[o].value->type != graph.inputs()[i]->type) continue;
      if (std::any_of(pairs.begin(), pairs.end(), [o](const auto& p) { return p.output == o; })) {
        continue;
      }
      pairs.push_back({o, i});
      break;
    }
  }
  return pairs;
}

TEST(InPlace, ChangesNoBitOfRandomGraphs) {
  size_t compared = 0, in_inputs = 0, smaller = 0;
  const uint32_t count = seed_count(400);
  for (uint32_t seed = 0; seed < count; ++seed) {
    const ir::Graph graph = random_graph(ops::table(), seed, {.nodes = 30, .symbolic = false});
    const ir::Bindings bindings = random_bindings().front();
    const auto inputs = random_inputs(graph, bindings, seed);
    for (const Mode mode : {Mode::eager, Mode::graph}) {
      ProgramOptions options{mode, 1, {}};
      options.in_place = options.cat_in_place = false;
      const Outcome expected = run(graph, bindings, inputs, options);
      if (expected.outputs.empty()) continue;
      options.in_place = options.cat_in_place = true;
      options.donations = donations(graph);
      const Outcome got = run(graph, bindings, inputs, options);
      ASSERT_EQ(got.outputs.size(), expected.outputs.size()) << "seed " << seed << print(graph);
      for (size_t i = 0; i < got.outputs.size(); ++i) {
        ASSERT_TRUE(same(got.outputs[i], expected.outputs[i]))
            << "seed " << seed << " output " << i << "\n"
            << print(graph);
      }
      ++compared;
      in_inputs += got.in_inputs;
      smaller += got.arena_bytes < expected.arena_bytes;
    }
  }
  EXPECT_GT(compared, count / 2);
  EXPECT_GT(in_inputs, count / 20);
  EXPECT_GT(smaller, count / 20);
}

}  // namespace
}  // namespace ostinato::runtime
