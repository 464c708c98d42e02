#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <set>

#include "device/cuda/emulator.h"
#include "device/cuda/fake_driver.h"
#include "ostinato/device/cuda/persistent_capture.h"
#include "ostinato/runtime/context.h"
#include "support/decoder.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

/// The persistent launch's kernel, run on the host, beside the graph of kernels.
namespace ostinato::cuda {
namespace {

using runtime::Context;
using runtime::Mode;
using runtime::Program;

/// Sets OSTINATO_PERSISTENT while it lives.
class Forced {
 public:
  explicit Forced(const char* value) { setenv("OSTINATO_PERSISTENT", value, 1); }
  ~Forced() { unsetenv("OSTINATO_PERSISTENT"); }
  Forced(const Forced&) = delete;
  Forced& operator=(const Forced&) = delete;
};

/// The driver with some functions changed while it lives.
class Changed {
 public:
  explicit Changed(void (*change)(Driver&)) : changed_(*below) {
    change(changed_);
    use_driver(&changed_);
  }
  ~Changed() { use_driver(below); }
  Changed(const Changed&) = delete;
  Changed& operator=(const Changed&) = delete;

  static inline const Driver* below = nullptr;
  static inline int multiprocessors = 0;  // that the GPU is said to have

  static void limit(Driver& driver) {
    driver.cuDeviceGetAttribute = [](int* value, CUdevice_attribute which, CUdevice device) {
      if (which != CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT) {
        return below->cuDeviceGetAttribute(value, which, device);
      }
      return *value = multiprocessors, CUDA_SUCCESS;
    };
  }

 private:
  Driver changed_;
};

std::vector<Tensor> step(Context& context, int64_t token, int64_t position, int64_t last = 0) {
  return context.run(decoder_inputs(token, position, last));
}

std::unique_ptr<Context> open(const ir::Graph& graph, std::string_view device,
                              Mode mode = Mode::graph) {
  return std::make_unique<Context>(std::make_shared<const Program>(
      graph.specialise({}), device::get(device), runtime::ProgramOptions{mode, 1, {}}));
}

/// As the one launch or as the graph of kernels.
std::unique_ptr<Context> open_as(const char* persistent, const ir::Graph& graph) {
  const Forced forced(persistent);
  auto context = open(graph, "cuda");
  context->prepare({});
  return context;
}

/// So many steps queued by each call, each on the token of the one before; -1 where none ran.
std::vector<int64_t> tokens_of(Context& context, int64_t token, int64_t position,
                               const std::vector<int>& calls, std::span<const int64_t> stops = {}) {
  runtime::Executable& executable = context.prepare({});
  device::Device& gpu = executable.device();
  const auto count = static_cast<size_t>(std::accumulate(calls.begin(), calls.end(), 0));
  const auto memory = gpu.allocate_staging(count * sizeof(int64_t));
  auto* const seen = static_cast<int64_t*>(memory.get());
  int64_t last = 0;
  void* inputs[] = {&token, &position, &last};
  executable.bring({inputs, {}});
  std::fill_n(seen, count, -1);
  int64_t* to = seen;
  for (const int steps : calls) {
    executable.advance(
        {.output = 1, .input = 0, .counter = 1, .seen = to, .steps = steps, .stops = stops});
    to += steps;
  }
  gpu.synchronise(executable.stream());
  return {seen, seen + count};
}

/// Of logits, by dtype.
double tolerance_of(const DecoderSpec& spec) { return spec.dtype == DType::float16 ? 0.004 : 0.02; }

/// That from a token on both give the same logits, and that each next token is what the graph of
/// kernels chooses or as good: no further from the largest than what both may round differently.
void expect_same(Context& single, Context& kernels, int64_t token, int64_t position,
                 const std::vector<int64_t>& tokens, double tolerance) {
  for (const int64_t next : tokens) {
    const Tensor got = step(single, token, position)[0], beside = step(kernels, token, position)[0];
    ASSERT_LT(distance(got, beside), tolerance) << "position " << position;
    ASSERT_LE(lead_over(beside, next), 2 * tolerance) << "position " << position;
    token = next;
    ++position;
  }
}

struct Family {
  const char* name;
  DecoderSpec spec;
};

const Family kFamilies[] = {
    {"qwen3", spec_of([](DecoderSpec& s) { s.norms = true, s.dim = 64, s.hidden = 128; })},
    {"qwen2", spec_of([](DecoderSpec& s) {
       s.biases = true, s.heads = 7, s.kv_heads = 1, s.hidden = 112, s.dtype = DType::float16;
     })},
    // Rows that are cut into segments, and an odd size of heads.
    {"llama",
     spec_of([](DecoderSpec& s) { s.tied = false, s.wide = 2304, s.dim = 72, s.layers = 1; })},
    {"windowed", spec_of([](DecoderSpec& s) { s.window = 70, s.dtype = DType::float16; })},
    {"ungrouped", spec_of([](DecoderSpec& s) {
       s.tied = false, s.heads = s.kv_heads = 2, s.dim = 80, s.dtype = DType::float16;
     })},
    {"eight_to_one",
     spec_of([](DecoderSpec& s) { s.heads = 8, s.kv_heads = 1, s.dim = 96, s.layers = 1; })},
    {"four_to_one", spec_of([](DecoderSpec& s) {
       s.norms = true, s.tied = false, s.kv_heads = 1, s.dim = 128, s.layers = 1;
       s.dtype = DType::float16;
     })},
};

bool on_gpu() { return std::getenv("OSTINATO_TEST_GPU") != nullptr; }

/// On a GPU where OSTINATO_TEST_GPU says that there is one.
class Persistents : public testing::TestWithParam<Family> {
 protected:
  Persistents() {
    if (!on_gpu()) use_fake_driver();
  }

  DecoderSpec spec() const {
    DecoderSpec spec = GetParam().spec;
    spec.capacity = on_gpu() ? 4096 : 200;
    return spec;
  }
  /// The same but for time where there is no GPU.
  DecoderSpec brief_spec() const {
    DecoderSpec brief = spec();
    if (!on_gpu()) brief.layers = 1, brief.wide = 128;
    return brief;
  }
};

/// With one split of keys and with several.
TEST_P(Persistents, ComputeWhatTheGraphOfKernelsDoes) {
  const ir::Graph graph = make_decoder(spec(), 1);
  const auto golden = open(graph, "cpu", Mode::reference);
  const auto single = open_as("on", graph), kernels = open_as("off", graph);
  std::vector<int64_t> positions = {0, 1, 65, 130};
  if (on_gpu()) positions.insert(positions.end(), {1000, 4095});
  size_t launches = 0;
  // Rows of the caches that were never written are zero for all.
  for (const int64_t position : positions) {
    const int64_t token = (position * 7) % 90;
    const auto got = step(*single, token, position), beside = step(*kernels, token, position);
    EXPECT_LT(distance(got[0], beside[0]), tolerance_of(spec())) << position;
    EXPECT_LE(lead_over(beside[0], *got[1].as<int64_t>()), 2 * tolerance_of(spec())) << position;
    EXPECT_LT(distance(got[0], step(*golden, token, position)[0]), tolerance_of(spec()));
    if (!on_gpu()) {
      EXPECT_EQ(fake_counts().cooperative_launches, ++launches);
    }
  }
}

/// Every position of the cache, then the same again from the first one on, over what the rounds
/// before left in caches, counters and rings: on a GPU more than 10^5 steps.
TEST_P(Persistents, RepeatThemselvesToTheBit) {
  DecoderSpec untied = brief_spec();
  untied.tied = false;  // else it repeats one token
  const int steps = on_gpu() ? static_cast<int>(untied.capacity) - 1 : 4,
            rounds = on_gpu() ? 25 : 2;
  const ir::Graph graph = make_decoder(untied, 3);
  const auto several = open_as("on", graph), kernels = open_as("off", graph);
  const std::vector<int64_t> first = tokens_of(*several, 5, 0, {steps});
  const Tensor logits = step(*several, first.back(), steps)[0];  // of all rows of the cache
  EXPECT_GT(std::set<int64_t>(first.begin(), first.end()).size(), 1u);
  expect_same(*several, *kernels, 5, 0, first, tolerance_of(untied));
  for (int round = 1; round < rounds; ++round) {
    ASSERT_EQ(tokens_of(*several, 5, 0, {steps}), first) << "round " << round;
    const Tensor again = step(*several, first.back(), steps)[0];
    ASSERT_EQ(std::memcmp(again.data(), logits.data(), logits.bytes()), 0) << "round " << round;
  }
}

/// A stop among the tokens ends the launch, and whatever was queued behind it does nothing.
TEST_P(Persistents, FollowEachOtherInOneLaunch) {
  const ir::Graph graph = make_decoder(brief_spec(), 1);
  constexpr int kSteps = 2;
  const int64_t begin = 63;
  const auto single = open_as("on", graph), several = open_as("on", graph);
  EXPECT_GE(several->prepare({}).steps_at_once(), kSteps);
  std::vector<int64_t> expected = {5};
  for (int i = 0; i < 2 * kSteps; ++i) {
    expected.push_back(*step(*single, expected.back(), begin + i)[1].as<int64_t>());
  }
  const auto all = tokens_of(*several, expected[0], begin, {kSteps, kSteps});
  EXPECT_TRUE(std::equal(all.begin(), all.end(), expected.begin() + 1));
  for (const size_t at : {0, 1, 2}) {
    const int64_t token = all[at];
    const auto stopped =
        tokens_of(*several, expected[0], begin, {kSteps, kSteps}, std::vector<int64_t>{token});
    // Of tied embeddings the token that was fed is chosen again; then no step runs at all.
    const auto stop = std::find(all.begin(), all.end(), token) - all.begin();
    const auto ran = token == expected[0] ? 0 : stop + 1;
    for (int i = 0; i < 2 * kSteps; ++i) {
      EXPECT_EQ(stopped[static_cast<size_t>(i)], i < ran ? all[static_cast<size_t>(i)] : -1);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Persistents, testing::ValuesIn(kFamilies),
                         [](const auto& info) { return std::string(info.param.name); });

/// Blocks that wait for each other, on as many multiprocessors as the GPU is said to have.
class PersistentBlocks : public testing::Test {
 protected:
  static constexpr int kFakeMultiprocessors = 5;

  PersistentBlocks() {
    if (!on_gpu()) use_fake_driver({.multiprocessors = kFakeMultiprocessors});
    all_ = device::get("cuda").properties().cores;
    Changed::below = &driver();
  }
  ~PersistentBlocks() override {
    if (!on_gpu()) use_fake_driver();
  }

  const DecoderSpec spec_ = spec_of([](DecoderSpec& s) {
    s.norms = true, s.tied = false, s.dim = 64, s.hidden = 128, s.capacity = 200, s.layers = 1;
  });
  const ir::Graph graph_ = make_decoder(spec_, 1);
  int all_ = 0;
};

TEST_F(PersistentBlocks, AreAnyNumber) {
  const auto kernels = open_as("off", graph_);
  for (const int count : {1, 2, all_ / 2, all_}) {
    Changed::multiprocessors = count;
    const Changed limited(Changed::limit);
    const auto several = open_as("on", graph_);
    const std::vector<int64_t> tokens = tokens_of(*several, 5, 60, {2, 1});
    expect_same(*several, *kernels, 5, 60, tokens, tolerance_of(spec_));
  }
}

/// Rather than wait for each other for ever.
TEST_F(PersistentBlocks, AreRefusedWhereTheyDoNotAllRunAtOnce) {
  Changed::multiprocessors = all_ + 1;
  {
    const Changed limited(Changed::limit);
    const auto context = open_as("on", graph_);
    expect_error([&] { step(*context, 1, 0); }, ErrorCode::internal,
                 "cuLaunchCooperativeKernel failed");
  }
  const Changed full([](Driver& driver) {
    driver.cuOccupancyMaxActiveBlocksPerMultiprocessor = [](int* blocks, CUfunction, int, size_t) {
      return *blocks = 0, CUDA_SUCCESS;
    };
  });
  const auto context = open_as("on", graph_);
  step(*context, 1, 0);
  EXPECT_EQ(context->prepare({}).remark(),
            "graph of kernels, since no multiprocessor has room for a block of it");
}

TEST(Choice, IsMadeByTheFirstReplay) {
  use_fake_driver();
  DecoderSpec spec;
  spec.layers = 1;
  const ir::Graph graph = make_decoder(spec, 2);
  const auto golden = open(graph, "cpu", Mode::reference), chosen = open(graph, "cuda");
  for (int64_t position = 0; position < 2; ++position) {
    const auto want = step(*golden, 4, position), got = step(*chosen, 4, position);
    EXPECT_LT(distance(got[0], want[0]), 0.02);
    EXPECT_EQ(*got[1].as<int64_t>(), *want[1].as<int64_t>());
    if (position == 0) {
      EXPECT_GT(fake_counts().cooperative_launches, 1u);
      EXPECT_GT(fake_counts().graph_launches, 1u);
      EXPECT_NE(chosen->prepare({}).remark().find(", since a step took"), std::string::npos);
      use_fake_driver();
    } else {  // one launch of one of the two
      EXPECT_EQ(fake_counts().cooperative_launches + fake_counts().graph_launches,
                static_cast<size_t>(position));
    }
  }
}

/// By programs of one cache, as processes one after the other are.
TEST(Choice, IsRemembered) {
  use_fake_driver();
  DecoderSpec spec;
  spec.layers = 1;
  const ir::Graph graph = make_decoder(spec, 2);
  const TemporaryFolder folder;
  std::string first;
  for (const bool again : {false, true}) {
    runtime::ProgramOptions options{Mode::graph, 1, {}};
    options.packed_cache = std::make_shared<device::PackedCache>(
        folder / "packed", size_t{1} << 30, [](const std::string& said) { ADD_FAILURE() << said; });
    Context context(
        std::make_shared<const Program>(graph.specialise({}), device::get("cuda"), options));
    use_fake_driver();
    step(context, 4, 0);
    const size_t launches = fake_counts().cooperative_launches + fake_counts().graph_launches;
    EXPECT_EQ(launches == 1, again);
    const std::string remark = context.prepare({}).remark();
    if (!again) first = remark;
    EXPECT_EQ(remark.substr(0, 8), first.substr(0, 8));  // `graph of`, or `persiste`
  }
}

TEST(Choice, SaysWhyItIsNone) {
  use_fake_driver();
  DecoderSpec spec;
  spec.dtype = DType::float32;
  const auto refused = open(make_decoder(spec, 2), "cuda");
  EXPECT_EQ(refused->prepare({}).remark(),
            "graph of kernels, since aten.embedding is not of bfloat16 or float16");
}

TEST(Choice, IsForcedByTheEnvironment) {
  use_fake_driver();
  const ir::Graph graph = make_decoder({}, 2);
  const Forced forced("maybe");
  expect_error([&] { step(*open(graph, "cuda"), 1, 0); }, ErrorCode::invalid_argument,
               "OSTINATO_PERSISTENT to be on or off, got 'maybe'");
}

/// What the tests' driver would not find on its own: the kernel waits before it ends a block.
TEST(PersistentCopies, MayNotBeOnTheirWayWhenABlockEnds) {
  const emulator::Kernel careless{[](const void*, const void*) {
                                    emulator::note_wait();
                                    emulator::begin_copy(nullptr, [] {});
                                  },
                                  0};
  EXPECT_DEATH(emulator::launch(careless, {.grid = {1, 1, 1}}, nullptr, nullptr),
               "a block ended while copies were on their way");
}

TEST(PersistentFaults, NameTheBadIndexAndGoOn) {
  use_fake_driver();
  const Forced forced("on");
  DecoderSpec spec;
  spec.layers = 1;
  const auto context = open(make_decoder(spec, 2), "cuda");
  for (const auto& [token, position, last] :
       {std::array<int64_t, 3>{-1, 0, 0}, {96, 0, 0}, {1, 40, 0}, {1, -1, 0}, {1, 0, 1}}) {
    expect_error([&, t = token, p = position, l = last] { step(*context, t, p, l); },
                 ErrorCode::invalid_argument, "out of range");
  }
  EXPECT_GE(*step(*context, 1, 0)[1].as<int64_t>(), 0);
}

}  // namespace
}  // namespace ostinato::cuda
