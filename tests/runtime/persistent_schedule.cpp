#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "ostinato/import/new_model.h"
#include "ostinato/runtime/context.h"
#include "ostinato/runtime/generate.h"
#include "ostinato/runtime/source.h"
#include "support/decoder.h"
#include "support/expect_error.h"
#include "support/scheduled_device.h"
#include "support/temporary_folder.h"

/// Schedules of persistent launches, held to the engine's own results on the CPU.
namespace ostinato::cuda::persistent {
namespace {

using runtime::Context;
using runtime::Mode;
using runtime::Program;

/// A decoder's steps on some device.
class Steps {
 public:
  Steps(const ir::Graph& graph, device::Device& device, Mode mode = Mode::graph)
      : context_(std::make_shared<const Program>(graph.specialise({}), device,
                                                 runtime::ProgramOptions{mode, 1, {}})) {}

  /// Logits and the next token.
  std::vector<Tensor> operator()(int64_t token, int64_t position, int64_t last = 0) {
    return context_.run(decoder_inputs(token, position, last));
  }

  /// The tokens of some steps, each on the one before it, in one launch.
  std::vector<int64_t> follow(int64_t token, int64_t position, int count) {
    runtime::Executable& step = context_.prepare({});
    int64_t last = 0, next = 0;
    const auto& logits = step.outputs()[0];
    Tensor room = Tensor::empty(logits.dtype, to_integers(logits.shape));
    void *inputs[] = {&token, &position, &last}, *outputs[] = {room.data(), &next};
    std::vector<int64_t> seen(static_cast<size_t>(count));
    step.bring({inputs, outputs});
    const int64_t begin = position;
    step.advance({.output = 1, .input = 0, .counter = 1, .seen = seen.data(), .steps = count});
    EXPECT_EQ(token, seen.back());
    EXPECT_EQ(position, begin + count);
    return seen;
  }

 private:
  Context context_;
};

struct Family {
  const char* name;
  DecoderSpec spec;
};

const Family kFamilies[] = {
    {"qwen3", spec_of([](DecoderSpec& s) { s.norms = true; })},
    {"qwen2", spec_of([](DecoderSpec& s) {
       s.biases = true, s.heads = 7, s.kv_heads = 1, s.hidden = 112, s.dtype = DType::float16;
     })},
    {"llama", spec_of([](DecoderSpec& s) { s.tied = false, s.kv_heads = 4, s.dim = 24; })},
    {"windowed", spec_of([](DecoderSpec& s) { s.window = 9, s.dtype = DType::float16; })},
};

class Schedules : public testing::TestWithParam<Family> {};

TEST_P(Schedules, ComputeWhatTheCpuDoes) {
  const ir::Graph graph = make_decoder(GetParam().spec, 1);
  Steps expected(graph, device::get("cpu"), Mode::reference);
  for (const int multiprocessors : {1, 3, 16}) {
    ScheduledDevice device(multiprocessors);
    Steps steps(graph, device);
    int64_t token = 5;
    for (int64_t position = 0; position < 24; ++position) {
      const auto got = steps(token, position), want = expected(token, position);
      ASSERT_NE(device.emulator, nullptr) << device.reason;
      EXPECT_LT(distance(got[0], want[0]), 0.02) << position;
      const Tensor logits = got[0].to(DType::float32);
      const float* begin = logits.as<float>();
      token = *got[1].as<int64_t>();
      EXPECT_EQ(token, std::max_element(begin, begin + logits.numel()) - begin);
    }
  }
}

TEST_P(Schedules, ComputeTheSameInEveryOrder) {
  const ir::Graph graph = make_decoder(GetParam().spec, 2);
  ScheduledDevice ordered(5), drawn(5);
  drawn.random = std::make_unique<Random>(7);
  Steps first(graph, ordered), second(graph, drawn);
  for (int64_t position = 0; position < 30; ++position) {
    const auto a = first(position, position), b = second(position, position);
    ASSERT_EQ(std::memcmp(a[0].data(), b[0].data(), a[0].bytes()), 0) << position;
    ASSERT_EQ(*a[1].as<int64_t>(), *b[1].as<int64_t>());
  }
}

TEST_P(Schedules, OrderAllThatTouchesTheSameBytes) {
  const ir::Graph graph = make_decoder(GetParam().spec, 3);
  for (const int multiprocessors : {1, 2, 7}) {
    ScheduledDevice device(multiprocessors);
    Steps steps(graph, device);
    steps(1, 33);
    std::vector<Access> accesses = device.emulator->accesses();
    const Schedule whole = unrolled(device.emulator->schedule(), 1, accesses);
    EXPECT_EQ(find_race(whole, accesses), std::nullopt);
  }
}

/// Leaves out each wait of each first task of a stage, and one more task of it.
TEST_P(Schedules, MissAnyWaitThatIsLeftOut) {
  ScheduledDevice device(4);
  Steps steps(make_decoder(GetParam().spec, 3), device);
  steps(1, 33);
  const Schedule& whole = device.emulator->schedule();
  size_t found = 0, planted = 0;
  for (size_t i = 0; i < whole.tasks.size(); i += 3) {
    for (int w = 0; w < kWaits; ++w) {
      const Wait wait = whole.tasks[i].waits[w];
      // What one multiprocessor does by itself it does in order.
      const bool first_of_stage = std::find(whole.first.begin(), whole.first.end(),
                                            static_cast<int32_t>(i)) != whole.first.end() ||
                                  whole.tasks[i - 1].call != whole.tasks[i].call;
      if (wait.counter < 0 || wait.count < 2 || !first_of_stage) continue;
      Schedule broken = whole;
      broken.tasks[i].waits[w] = {};
      ++planted;
      found += find_race(broken, device.emulator->accesses()).has_value() ? 1 : 0;
      broken.tasks[i].waits[w] = {wait.counter, wait.count - 1};
      ++planted;
      found += find_race(broken, device.emulator->accesses()).has_value() ? 1 : 0;
    }
  }
  EXPECT_GT(planted, 10u);
  EXPECT_EQ(found, planted);
}

TEST_P(Schedules, FollowEachOtherInOneLaunch) {
  const ir::Graph graph = make_decoder(GetParam().spec, 2);
  constexpr int kSteps = 3;
  for (const int multiprocessors : {1, 5, 16}) {
    ScheduledDevice one_by_one(multiprocessors), at_once(multiprocessors);
    at_once.random = std::make_unique<Random>(11);
    Steps single(graph, one_by_one), several(graph, at_once);
    int64_t token = 7;
    for (int64_t position = 0; position < 30; position += kSteps) {
      std::vector<int64_t> expected;
      for (int i = 0; i < kSteps; ++i) {
        expected.push_back(
            *single(expected.empty() ? token : expected.back(), position + i)[1].as<int64_t>());
      }
      ASSERT_EQ(several.follow(token, position, kSteps), expected) << position;
      token = expected.back();
    }
    const Schedule& schedule = at_once.emulator->schedule();
    for (const bool waits : {true, false}) {
      std::vector<Access> accesses = at_once.emulator->accesses();
      const Schedule whole = unrolled(schedule, kSteps, accesses, waits);
      EXPECT_EQ(find_race(whole, accesses).has_value(), !waits && multiprocessors > 1);
    }
    // Copies of the cache that wait for one task too few of the step before, or for none.
    for (const bool some : {true, false}) {
      Schedule hasty = schedule;
      for (Task& task : hasty.tasks) {
        if (task.kind != Kind::attend) continue;
        task.attend.in_stage = some ? task.attend.in_stage - 1 : 0;
      }
      std::vector<Access> accesses = at_once.emulator->accesses();
      const Schedule whole = unrolled(hasty, kSteps, accesses);
      EXPECT_TRUE(find_race(whole, accesses).has_value());
    }
  }
}

TEST_P(Schedules, RefuseBadTokensAndPositions) {
  ScheduledDevice device(3);
  Steps steps(make_decoder(GetParam().spec, 3), device);
  const int64_t capacity = GetParam().spec.capacity;
  for (const auto& [token, position, last] :
       {std::array<int64_t, 3>{-1, 0, 0}, {96, 0, 0}, {1, capacity, 0}, {1, -1, 0}, {1, 0, 1}}) {
    expect_error([&, t = token, p = position, l = last] { steps(t, p, l); },
                 ErrorCode::invalid_argument, "a bad index");
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Schedules, testing::ValuesIn(kFamilies),
                         [](const auto& info) { return std::string(info.param.name); });

/// Sizes of heads, queries to a head of keys, tied and untied heads, both dtypes: all with all.
TEST(Shapes, ComputeWhatTheCpuDoes) {
  DecoderSpec spec;
  spec.layers = 1;
  for (spec.dim = 64; spec.dim <= 128; spec.dim += spec.dim == 96 ? 32 : 16) {
    for (const int64_t group : {1, 2, 4, 7, 8}) {
      spec.kv_heads = group < 4 ? 2 : 1;
      spec.heads = group * spec.kv_heads;
      for (const int variant : {0, 1, 2, 3}) {
        spec.tied = variant % 2 == 0;
        spec.dtype = variant < 2 ? DType::bfloat16 : DType::float16;
        const double tolerance = variant < 2 ? 0.02 : 0.004;
        const ir::Graph graph = make_decoder(spec, 4);
        ScheduledDevice device(5);
        Steps steps(graph, device), expected(graph, device::get("cpu"), Mode::reference);
        for (const int64_t position : {0, 1, 33}) {
          const auto got = steps(9, position), want = expected(9, position);
          ASSERT_NE(device.emulator, nullptr) << device.reason;
          EXPECT_LT(distance(got[0], want[0]), tolerance) << spec.dim << " " << group;
          EXPECT_LE(lead_over(want[0], *got[1].as<int64_t>()), 2 * tolerance);
        }
      }
    }
  }
}

std::string reason_for(const ir::Graph& graph) {
  ScheduledDevice device(4);
  Steps steps(graph, device);
  steps(1, 0);
  return device.reason;
}

TEST(Refusals, SayWhy) {
  DecoderSpec spec;
  spec.dtype = DType::float32;
  EXPECT_EQ(reason_for(make_decoder(spec, 1)), "aten.embedding is not of bfloat16 or float16");
  spec = {};
  spec.dim = 12, spec.hidden = 48;
  EXPECT_EQ(reason_for(make_decoder(spec, 1)),
            "rotary_cache has heads of 12: expected a multiple of 8 up to 128");
  spec = {};
  spec.wide = 100;
  EXPECT_EQ(reason_for(make_decoder(spec, 1)),
            "linear has 100 columns: expected a multiple of 8 up to 32768");
}

/// An imported model, from its prompt on: the prompt's own graph is refused.
TEST(ImportedModels, WriteTheTokensThatTheCpuWrites) {
  const TemporaryFolder folder;
  importer::Preset preset = importer::preset("qwen3-0.6b", true);
  preset.config["vocab_size"] = 256;
  preset.config["tie_word_embeddings"] = false;  // else it repeats one token
  importer::new_model(preset, "qwen3", folder / "m", {.dtype = DType::bfloat16, .seed = 3});
  const auto source = runtime::Source::open(folder / "m", {DType::bfloat16});
  runtime::GenerateOptions options;
  options.max_new_tokens = 12;
  options.ignore_end = true;
  ScheduledDevice scheduled(6);
  std::vector<std::vector<int64_t>> tokens;
  for (device::Device* device : {&device::get("cpu"), static_cast<device::Device*>(&scheduled)}) {
    runtime::Generator generate(*source.model(), *device,
                                runtime::ProgramOptions{Mode::graph, 1, {}}, {});
    tokens.push_back(generate(std::vector<int64_t>{1, 2, 3}, options, {}).tokens);
  }
  EXPECT_NE(scheduled.emulator, nullptr) << scheduled.reason;
  EXPECT_EQ(tokens[1], tokens[0]);
}

}  // namespace
}  // namespace ostinato::cuda::persistent
