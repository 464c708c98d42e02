#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>

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

std::vector<Tensor> step(Context& context, int64_t token, int64_t position, int64_t last = 0) {
  return context.run(decoder_inputs(token, position, last));
}

std::unique_ptr<Context> open(const ir::Graph& graph, std::string_view device,
                              Mode mode = Mode::graph) {
  return std::make_unique<Context>(std::make_shared<const Program>(
      graph.specialise({}), device::get(device), runtime::ProgramOptions{mode, 1, {}}));
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
};

/// On a GPU where OSTINATO_TEST_GPU says that there is one.
class Persistents : public testing::TestWithParam<Family> {
 protected:
  Persistents() {
    if (!on_gpu_) use_fake_driver();
  }

  /// Every position where that takes no time, or else some with one split of keys and with several.
  std::vector<int64_t> positions() const {
    if (!on_gpu_) return {0, 1, 65, 130};
    std::vector<int64_t> all(static_cast<size_t>(spec().capacity));
    std::iota(all.begin(), all.end(), 0);
    return all;
  }
  DecoderSpec spec() const {
    DecoderSpec spec = GetParam().spec;
    spec.capacity = on_gpu_ ? 4096 : 200;
    return spec;
  }

  const bool on_gpu_ = std::getenv("OSTINATO_TEST_GPU") != nullptr;
};

TEST_P(Persistents, ComputeWhatTheGraphOfKernelsDoes) {
  const ir::Graph graph = make_decoder(spec(), 1);
  const auto golden = open(graph, "cpu", Mode::reference);
  const auto single = open(graph, "cuda"), kernels = open(graph, "cuda");
  size_t launches = 0;
  // Rows of the caches that were never written are zero for all.
  for (const int64_t position : positions()) {
    const int64_t token = (position * 7) % 90;
    setenv("OSTINATO_PERSISTENT", "on", 1);
    const auto got = step(*single, token, position);
    setenv("OSTINATO_PERSISTENT", "off", 1);
    const auto beside = step(*kernels, token, position);
    unsetenv("OSTINATO_PERSISTENT");
    EXPECT_LT(distance(got[0], beside[0]), 0.02) << position;
    EXPECT_EQ(*got[1].as<int64_t>(), *beside[1].as<int64_t>()) << position;
    if (on_gpu_) continue;
    EXPECT_EQ(fake_counts().cooperative_launches, ++launches);
    EXPECT_LT(distance(got[0], step(*golden, token, position)[0]), 0.02) << position;
  }
}

/// A stop among the tokens ends the launch, and whatever was queued behind it does nothing.
TEST_P(Persistents, FollowEachOtherInOneLaunch) {
  const Forced forced("on");
  DecoderSpec short_spec = spec();
  short_spec.layers = 1;
  const ir::Graph graph = make_decoder(short_spec, 1);
  constexpr int kSteps = 3;
  const int64_t begin = 63;
  const auto single = open(graph, "cuda"), several = open(graph, "cuda");
  std::vector<int64_t> expected = {5};
  for (int i = 0; i < 2 * kSteps; ++i) {
    expected.push_back(*step(*single, expected.back(), begin + i)[1].as<int64_t>());
  }
  runtime::Executable& executable = several->prepare({});
  device::Device& gpu = executable.device();
  EXPECT_GE(executable.steps_at_once(), kSteps);
  const auto memory = gpu.allocate_staging(2 * kSteps * sizeof(int64_t));
  auto* const seen = static_cast<int64_t*>(memory.get());
  const auto tokens = [&](std::span<const int64_t> stops) {
    int64_t token = expected[0], position = begin, last = 0;
    void* inputs[] = {&token, &position, &last};
    executable.bring({inputs, {}});
    std::fill_n(seen, 2 * kSteps, -1);
    for (int64_t* to : {seen, seen + kSteps}) {
      executable.advance(
          {.output = 1, .input = 0, .counter = 1, .seen = to, .steps = kSteps, .stops = stops});
    }
    gpu.synchronise(executable.stream());
    return std::vector<int64_t>(seen, seen + 2 * kSteps);
  };
  const auto all = tokens({});
  EXPECT_TRUE(std::equal(all.begin(), all.end(), expected.begin() + 1));
  const auto stopped = tokens(std::vector<int64_t>{all[1]});
  // Of tied embeddings the token that was fed is chosen again; then no step runs at all.
  const auto stop = std::find(all.begin(), all.end(), all[1]) - all.begin();
  const auto ran = all[1] == expected[0] ? 0 : stop + 1;
  for (int i = 0; i < 2 * kSteps; ++i) {
    EXPECT_EQ(stopped[static_cast<size_t>(i)], i < ran ? all[static_cast<size_t>(i)] : -1);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Persistents, testing::ValuesIn(kFamilies),
                         [](const auto& info) { return std::string(info.param.name); });

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
