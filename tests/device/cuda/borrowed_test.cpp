#include <gtest/gtest.h>

#include <cstring>
#include <optional>

#include "device/cuda/fake_driver.h"
#include "ostinato/base/error.h"
#include "ostinato/device/cuda/cuda_device.h"
#include "ostinato/ir/text.h"
#include "ostinato/ops/ops.h"
#include "ostinato/runtime/context.h"
#include "support/expect_error.h"
#include "support/random_graph.h"

/// What PyTorch's tensors on the GPU need: its stream, and inputs, outputs and weights where they
/// lie.
namespace ostinato::cuda {
namespace {

using runtime::Context;
using runtime::Executable;
using runtime::Mode;
using runtime::Program;

constexpr std::string_view kLayer = R"(ostinato.graph 1 "layer"
constant %0 "w" : float32(24, 16)
constant %1 "g" : float32(16)
input %2 "x" : float32(b, 16)
%3 : float32(24, 16) = aten.exp(%0)
%4 : float32(b, 16) = rms_norm(%2, %1) {eps=1e-06}
%5 : float32(b, 24) = aten.linear(%4, %3, None)
%6 : float32(b, 24) = aten.sin(%5)
output "y" %6
)";

constexpr std::string_view kRows = R"(ostinato.graph 1 "rows"
constant %0 : float32(2, 1) = [5.0, 6.0]
input %1 "ids" : int64(b)
%2 : float32(b, 1) = aten.embedding(%0, %1)
output "y" %2
)";

/// Another library: its stream, and memory that it fills and reads in the order of that.
class BorrowedStream : public testing::Test {
 protected:
  BorrowedStream() {
    use_fake_driver();
    OSTINATO_CUDA(cuStreamCreate, &stream_, 0);
  }
  ~BorrowedStream() override {
    inputs_.clear();
    OSTINATO_CUDA(cuStreamSynchronize, stream_);
    OSTINATO_CUDA(cuStreamDestroy, stream_);
  }

  static device::Device& gpu() { return device::get("cuda:0"); }

  std::shared_ptr<void> allocate(size_t bytes, CUstream stream) {
    CUdeviceptr address = 0;
    OSTINATO_CUDA(cuMemAllocFromPoolAsync, &address, bytes, nullptr, stream);
    return {reinterpret_cast<void*>(address), [stream](void* memory) {
              driver().cuMemFreeAsync(reinterpret_cast<CUdeviceptr>(memory), stream);
            }};
  }
  /// On the device, once what is queued on the stream has run.
  std::shared_ptr<void> send(const Tensor& host, CUstream stream) {
    hosts_.push_back(host);  // which the copy reads only then
    std::shared_ptr<void> memory = allocate(host.bytes(), stream);
    OSTINATO_CUDA(cuMemcpyHtoDAsync, reinterpret_cast<CUdeviceptr>(memory.get()), host.data(),
                  host.bytes(), stream);
    return memory;
  }
  static Tensor receive(const std::shared_ptr<void>& memory, const ir::ValueType& type,
                        CUstream stream) {
    Tensor host = Tensor::empty(type.dtype, to_integers(type.shape));
    OSTINATO_CUDA(cuMemcpyDtoHAsync, host.data(), reinterpret_cast<CUdeviceptr>(memory.get()),
                  host.bytes(), stream);
    OSTINATO_CUDA(cuStreamSynchronize, stream);
    return host;
  }

  static std::shared_ptr<const Program> program_of(ir::Graph graph, Mode mode = Mode::graph,
                                                   CUstream stream = nullptr) {
    runtime::ProgramOptions options{mode, 1, {}};
    if (stream != nullptr) options.stream = gpu().borrow_stream(stream);
    return std::make_shared<const Program>(std::move(graph), gpu(), std::move(options));
  }
  static Context context_of(std::shared_ptr<const Program> program, CUstream stream,
                            size_t capture_limit = 64) {
    runtime::ContextOptions options{.capture_limit = capture_limit,
                                    .stream = gpu().borrow_stream(stream)};
    options.on_device = true;
    return Context(std::move(program), std::move(options));
  }
  /// Queues a call with one input; its one output is there when the stream has come so far.
  std::shared_ptr<void> call(Context& context, const Tensor& x, CUstream stream) {
    Executable& executable = context.prepare({{"b", x.shape()[0]}});
    inputs_.push_back(send(x, stream));
    const ir::ValueType& type = executable.outputs()[0];
    const size_t bytes = size_of(type.dtype) * static_cast<size_t>(type.shape[0].value()) *
                         static_cast<size_t>(type.shape[1].value());
    std::shared_ptr<void> y = allocate(bytes, stream);
    void *inputs[] = {inputs_.back().get()}, *outputs[] = {y.get()};
    executable({inputs, outputs});
    return y;
  }

  CUstream stream_ = nullptr;
  std::vector<std::shared_ptr<void>> inputs_;
  std::vector<Tensor> hosts_;
};

Tensor ids_of(int64_t id) {
  Tensor ids = Tensor::empty(DType::int64, {1});
  *ids.as<int64_t>() = id;
  return ids;
}

/// Products among the calls are recorded, which the default stream cannot.
TEST_F(BorrowedStream, CallsRunInItsOrderAndWaitForNothing) {
  const ir::Graph graph = ir::parse(R"(ostinato.graph 1 "products"
input %0 "x" : float32(b, 16)
input %1 "w" : float32(16, 24)
%2 : float32(b, 24) = aten.mm(%0, %1)
%3 : float32(b, 24) = aten.sin(%2)
output "y" %3
)",
                                    ops::table());
  const auto given = random_inputs(graph, {{"b", 8}}, 1);
  const auto expected = Context(program_of(graph.specialise({}))).run(given);
  for (const CUstream stream : {stream_, CU_STREAM_LEGACY}) {
    Context context = context_of(program_of(graph.specialise({})), stream);
    Executable& executable = context.prepare({{"b", 8}});
    for (int i = 0; i < 2; ++i) {  // the second time all is patched to other pointers
      const auto x = send(given[0], stream), w = send(given[1], stream);
      const auto y = allocate(expected[0].bytes(), stream);
      const FakeCounts before = fake_counts();
      void *inputs[] = {x.get(), w.get()}, *outputs[] = {y.get()};
      executable({inputs, outputs});
      EXPECT_EQ(fake_counts().graph_launches, before.graph_launches + 1);
      EXPECT_EQ(fake_counts().synchronisations, before.synchronisations);
      EXPECT_EQ(fake_counts().event_waits, before.event_waits);
      EXPECT_EQ(fake_counts().copies, before.copies);
      const Tensor got = receive(y, executable.outputs()[0], stream);
      EXPECT_EQ(std::memcmp(got.data(), expected[0].data(), got.bytes()), 0);
    }
  }
}

TEST_F(BorrowedStream, TheNullHandleIsTheDefaultStream) {
  Context context = context_of(program_of(ir::parse(kRows, ops::table())), nullptr);
  const auto y = call(context, ids_of(1), CU_STREAM_LEGACY);
  EXPECT_EQ(*receive(y, {DType::float32, {1, 1}}, CU_STREAM_LEGACY).as<float>(), 6);
  inputs_.clear();
  OSTINATO_CUDA(cuStreamSynchronize, CU_STREAM_LEGACY);
}

TEST_F(BorrowedStream, WeightsAreReadWhereTheyLie) {
  ir::Graph graph = ir::parse(kLayer, ops::table());
  const auto inputs = random_inputs(graph, {{"b", 2}}, 1);
  std::vector<Tensor> weights;
  for (ir::Value* constant : graph.constants()) {
    Tensor& weight =
        weights.emplace_back(Tensor::empty(DType::float32, to_integers(constant->shape())));
    for (int64_t i = 0; i < weight.numel(); ++i) {
      weight.as<float>()[i] = 0.1f * static_cast<float>(i % 7) - 0.3f;
    }
    constant->data = weight;
  }
  for (const Mode mode : {Mode::eager, Mode::graph}) {
    const auto expected = Context(program_of(graph.specialise({}), mode)).run(inputs);
    ir::Graph resident = graph.specialise({});
    std::vector<std::weak_ptr<const void>> owners;
    for (size_t i = 0; i < weights.size(); ++i) {
      resident.constants()[i]->data = {};
      resident.constants()[i]->on_device = send(weights[i], stream_);
      owners.emplace_back(resident.constants()[i]->on_device);
    }
    const size_t copies = fake_counts().copies;
    {
      auto program = program_of(std::move(resident), mode, stream_);
      // The weight that a pass folds is read, and the one of less than 512 bytes.
      const bool folds = mode == Mode::graph;
      EXPECT_EQ(fake_counts().copies, copies + (folds ? 2 : 1));
      Context context = context_of(program, stream_);
      const auto y = call(context, inputs[0], stream_);
      const auto got = receive(y, context.prepare({{"b", 2}}).outputs()[0], stream_);
      EXPECT_EQ(std::memcmp(got.data(), expected[0].data(), got.bytes()), 0) << name_of(mode);
      EXPECT_EQ(context.prepare({{"b", 2}}).plan().steps.size(), folds ? 2u : 4u);
      EXPECT_EQ(owners[1].expired(), false);
    }
    EXPECT_TRUE(owners[0].expired() && owners[1].expired());
  }
}

TEST_F(BorrowedStream, AFaultIsThrownByTheNextCall) {
  for (const bool evicted : {false, true}) {
    Context context = context_of(program_of(ir::parse(kRows, ops::table())), stream_, 1);
    const auto lost = call(context, ids_of(2), stream_);
    Tensor two = Tensor::empty(DType::int64, {2});
    two.as<int64_t>()[0] = two.as<int64_t>()[1] = 0;
    OSTINATO_CUDA(cuStreamSynchronize, stream_);
    // The operator is named though its capture went for another shape's.
    const Tensor next = evicted ? two : ids_of(0);
    expect_error([&] { call(context, next, stream_); }, ErrorCode::invalid_argument,
                 "run/aten.embedding");
    const auto y = call(context, ids_of(1), stream_);
    EXPECT_EQ(*receive(y, {DType::float32, {1, 1}}, stream_).as<float>(), 6);
  }
}

TEST_F(BorrowedStream, EagerModeThrowsFaultsAtOnce) {
  Context context = context_of(program_of(ir::parse(kRows, ops::table()), Mode::eager), stream_);
  expect_error([&] { call(context, ids_of(2), stream_); }, ErrorCode::invalid_argument,
               "run/aten.embedding");
}

TEST_F(BorrowedStream, TheCallersContextIsPutBack) {
  int other = 0;
  auto* const theirs = reinterpret_cast<CUcontext>(&other);
  OSTINATO_CUDA(cuCtxSetCurrent, theirs);
  {
    const auto current = gpu().keep_current();
    gpu().allocate(1);
    CUcontext within = nullptr;
    OSTINATO_CUDA(cuCtxGetCurrent, &within);
    EXPECT_NE(within, theirs);
  }
  CUcontext after = nullptr;
  OSTINATO_CUDA(cuCtxGetCurrent, &after);
  EXPECT_EQ(after, theirs);
}

}  // namespace
}  // namespace ostinato::cuda
