#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <set>

#include "device/cuda/fake_driver.h"
#include "ostinato/bench/lane.h"
#include "ostinato/bench/latency.h"
#include "ostinato/import/new_model.h"
#include "ostinato/runtime/generate.h"
#include "ostinato/runtime/source.h"
#include "support/temporary_folder.h"

/// Generation whose tokens stay on the device, beside generation that brings each to the host.
namespace ostinato::cuda {
namespace {

using runtime::Generation;
using runtime::Generator;

/// By how a decode step runs; on a GPU where OSTINATO_TEST_GPU says that there is one.
class TokensOnTheDevice : public testing::TestWithParam<const char*> {
 protected:
  TokensOnTheDevice() {
    if (!on_gpu_) use_fake_driver();
    setenv("OSTINATO_PERSISTENT", GetParam(), 1);
    importer::Preset preset = importer::preset("qwen3-0.6b", true);
    preset.config["vocab_size"] = 64;  // for its time
    preset.config["num_hidden_layers"] = 1;
    preset.config["tie_word_embeddings"] = false;  // else it repeats one token
    importer::new_model(preset, "qwen3", folder_ / "m", {.dtype = DType::bfloat16, .seed = 3});
    const auto source = runtime::Source::open(folder_ / "m", {DType::bfloat16});
    generator_ = std::make_unique<Generator>(*source.model(), device::get("cuda:0"),
                                             runtime::ProgramOptions{}, runtime::ContextOptions{});
  }
  ~TokensOnTheDevice() override {
    unsetenv("OSTINATO_PERSISTENT");
    if (!on_gpu_) use_fake_driver();
  }

  Generation generate(int64_t tokens, const runtime::OnToken& on_token,
                      const std::vector<int64_t>& stops = {}) {
    runtime::GenerateOptions options;
    options.max_new_tokens = tokens;
    options.stop_tokens = stops;
    options.ignore_end = true;
    return (*generator_)(std::vector<int64_t>{1, 2, 3}, options, on_token);
  }
  /// Each token and its logits brought to the host before the next step is queued.
  Generation one_by_one(int64_t tokens) {
    return generate(tokens, [](int64_t, const Tensor&) { return true; });
  }

  const bool on_gpu_ = std::getenv("OSTINATO_TEST_GPU") != nullptr;
  TemporaryFolder folder_;

 private:
  std::unique_ptr<Generator> generator_;
};

TEST_P(TokensOnTheDevice, AreThoseThatTheHostWouldFeed) {
  const int64_t count = on_gpu_ ? 500 : 7;
  const Generation fed = one_by_one(count), own = generate(count, {});
  EXPECT_EQ(own.tokens, fed.tokens);
  EXPECT_GT(std::set<int64_t>(fed.tokens.begin(), fed.tokens.end()).size(), 3u);
  const int64_t stop = fed.tokens[4];
  const Generation stopped = generate(count, {}, {stop});
  const auto end = std::find(fed.tokens.begin(), fed.tokens.end(), stop) + 1;
  EXPECT_EQ(stopped.tokens, std::vector<int64_t>(fed.tokens.begin(), end));
  EXPECT_EQ(generate(count, {}).tokens, fed.tokens);
  if (!on_gpu_) return;
  const auto median = [](const Generation& of) { return 1e3 * bench::summarise(of.token_ms).p50; };
  std::cout << "persistent " << GetParam() << ": " << median(fed) << " us a token by the host, "
            << median(own) << " on the device\n";
}

/// Between the prompt and the end nothing is copied, and the host waits for events alone.
TEST_P(TokensOnTheDevice, NeedNoCopiesAndNoSynchronisation) {
  if (on_gpu_) GTEST_SKIP() << "counts what the tests' driver is asked for";
  generate(11, {});  // captures
  FakeCounts counts[2];
  for (const int64_t tokens : {2, 11}) {
    use_fake_driver();
    generate(tokens, {});
    counts[tokens / 11] = fake_counts();
  }
  EXPECT_EQ(counts[1].synchronisations, counts[0].synchronisations);
  EXPECT_EQ(counts[1].copies, counts[0].copies);
  EXPECT_EQ(counts[1].patches, 0u);
  // The prompt, and a launch to each token after the first or to eight of them.
  const bool persistent = GetParam() == std::string("on");
  EXPECT_EQ(counts[1].event_waits, persistent ? 2u : 10u);
  EXPECT_EQ(counts[1].graph_launches, persistent ? 1u : 11u);
  EXPECT_EQ(counts[1].cooperative_launches, persistent ? 2u : 0u);
}

TEST_P(TokensOnTheDevice, AreReportedWithWhatAStepRunsAs) {
  bench::LaneSpec spec;
  spec.kind = bench::lane_kind(bench::kGraph);
  spec.model = (folder_ / "m").string();
  spec.device = "cuda:0";
  spec.dtype = DType::bfloat16;
  spec.weights = importer::WeightSource::random;
  bench::Lane lane(spec);
  const Json first = lane.prepare_generation({1, 2, 3}, 4, 32);
  EXPECT_EQ(first["decode_step"], GetParam() == std::string("on")
                                      ? "persistent launch"
                                      : "graph of kernels, since OSTINATO_PERSISTENT is off");
  EXPECT_FALSE(lane.generate({1, 2, 3}, 4)["tokens"].empty());
}

INSTANTIATE_TEST_SUITE_P(Launches, TokensOnTheDevice, testing::Values("off", "on"),
                         [](const auto& info) {
                           return std::string(info.index == 0 ? "graph" : "persistent");
                         });

}  // namespace
}  // namespace ostinato::cuda
