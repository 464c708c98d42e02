#include <gtest/gtest.h>

#include "ostinato/import/model.h"
#include "ostinato/import/new_model.h"
#include "ostinato/plan/eager.h"
#include "ostinato/runtime/context.h"
#include "runtime/hooks.h"
#include "support/random_graph.h"

namespace ostinato::runtime {
namespace {

/// A model at full width, but of few layers and words: more of them need no more of the arena. Its
/// constants have no data, since planning needs none.
importer::Model model_of(const std::string& preset) {
  Json config = importer::preset(preset, false).config;
  config["num_hidden_layers"] = 3;
  if (config.contains("vocab_size")) config["vocab_size"] = 1000;
  config.erase("bos_token_id");
  config.erase("eos_token_id");
  importer::ModelOptions options;
  options.weights = importer::WeightSource::random;
  const auto random = importer::Model::from_config(config, preset, options);
  std::vector<std::string> names;
  for (const auto& parameter : random.parameters()) names.push_back(parameter.name);
  return importer::Model::from_names(config, preset, DType::float32, names);
}

struct Case {
  const char* preset;
  ir::Bindings bindings;
  int64_t cache = 0;  ///< tokens of the decoder's; 0: the whole forward
};

/// What a plan is there for: no more than 5 % over what no plan can beat, and 30 % below eager
/// mode.
TEST(MemoryOfModels, IsNearTheLowerBoundAndFarBelowEager) {
  const Case cases[] = {
      {"vit-base-patch16-224", {{"b", 1}}},   {"vit-base-patch16-224", {{"b", 8}}},
      {"bert-base", {{"b", 1}, {"s", 128}}},  {"all-minilm-l6-v2", {{"b", 4}, {"s", 100}}},
      {"qwen3-0.6b", {{"b", 1}, {"s", 128}}}, {"qwen3-0.6b", {{"s", 128}}, 512},
      {"qwen3-0.6b", {{"s", 1}}, 512},
  };
  for (const auto& [preset, bindings, cache] : cases) {
    const importer::Model model = model_of(preset);
    ir::Graph graph = cache > 0 ? model.decoder(cache) : model.forward();
    const size_t eager = plan::eager_peak(graph.specialise(bindings));
    const Program program(std::move(graph), device::get("null"), {});
    const plan::Plan plan = program.plan(bindings, 1);
    plan::check_plan(plan);
    const auto bound = static_cast<double>(lower_bound(plan.buffers));
    EXPECT_LE(static_cast<double>(plan.arena_bytes), 1.05 * bound) << preset;
    EXPECT_LE(static_cast<double>(plan.arena_bytes), 0.7 * static_cast<double>(eager)) << preset;
  }
}

#ifndef OSTINATO_SANITIZED

/// What a context takes beside its states is what was planned, scratch included, and a call takes
/// nothing.
TEST(MemoryOfModels, IsWhatWasPlanned) {
  constexpr double kLine = 64;  // more, at each allocation's end
  struct Tiny {
    const char* preset;
    ir::Bindings bindings;
    int64_t cache = 0;
  };
  for (const auto& [preset, bindings, cache] :
       {Tiny{"vit-base-patch16-224", {{"b", 2}}}, Tiny{"bert-base", {{"b", 1}, {"s", 16}}},
        Tiny{"all-minilm-l6-v2", {{"b", 4}, {"s", 12}}}, Tiny{"qwen3-0.6b", {{"b", 1}, {"s", 16}}},
        Tiny{"qwen3-0.6b", {{"s", 16}}, 32}}) {
    SCOPED_TRACE(preset);
    const auto model = importer::Model::from_config(importer::preset(preset, true).config, preset,
                                                    {.weights = importer::WeightSource::random});
    ProgramOptions options;
    options.threads = 2;
    const auto program = std::make_shared<const Program>(
        cache > 0 ? model.decoder(cache) : model.forward(), device::get("cpu"), options);
    Context(program).prepare(bindings);  // packs the weights, which all contexts share
    const plan::Plan plan = program->plan(bindings, 2);
    auto measured = -kLine;
    for (const ir::Value* state : plan.graph.states()) {
      measured -= static_cast<double>(bytes_of(*state)) + kLine;
    }
    std::vector<Tensor> inputs = random_inputs(program->graph(), bindings, 1), outputs;
    for (const ir::Output& output : plan.graph.outputs()) {
      outputs.push_back(Tensor::empty(output.value->dtype(), to_integers(output.value->shape())));
    }
    Context context(program);
    {
      const test::Watch watch;
      context.prepare(bindings);
      measured += static_cast<double>(watch.counts().aligned_bytes);
    }
    const auto planned = static_cast<double>(plan.arena_bytes);
    EXPECT_NEAR(measured, planned, 0.05 * planned);
    const test::Watch watch;
    context.run_into(inputs, outputs);
    EXPECT_EQ(watch.counts().aligned_bytes, 0u);
  }
}

#endif

}  // namespace
}  // namespace ostinato::runtime
