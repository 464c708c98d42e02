#include "ostinato/device/cuda/persistent_capture.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>

#include "ostinato/base/dtype.h"
#include "ostinato/base/error.h"
#include "ostinato/device/cuda/capture.h"

namespace ostinato::cuda {

namespace {

using device::Address;
using device::Bindings;
using persistent::Schedule;

constexpr std::string_view kStage = "device/cuda";
constexpr unsigned kThreads = (persistent::kConsumerWarps + 1) * 32;
constexpr int kLeastStages = 2;
constexpr const char* kTimeline = "OSTINATO_TIMELINE";

void* pointer_of(const Address& address, const Bindings& bindings) {
  return (address.kind == Address::Kind::input ? bindings.inputs : bindings.outputs)[address.index];
}

/// Bulk copies begin and end at multiples of 16 bytes.
bool is_aligned(const persistent::Task& task) {
  const auto whole = [](const persistent::Ref& ref) { return ref.offset % 16 == 0; };
  if (task.kind == persistent::Kind::attend) {
    return whole(task.attend.key_cache) && whole(task.attend.value_cache);
  }
  if (task.kind != persistent::Kind::product) return true;
  return whole(task.product.weights[0]) && whole(task.product.weights[1]);
}

size_t vector_bytes(const Schedule& schedule) {
  return (static_cast<size_t>(schedule.most_depth) * 2 + 127) / 128 * 128;
}

/// Of shared memory that a block may take at most.
int shared_limit() {
  CUdevice device = 0;
  OSTINATO_CUDA(cuCtxGetDevice, &device);
  int bytes = 0;
  OSTINATO_CUDA(cuDeviceGetAttribute, &bytes, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
                device);
  return bytes;
}

int stages_of(const Schedule& schedule) {
  const int rest = shared_limit() - static_cast<int>(vector_bytes(schedule)) -
                   persistent::kFixedBytes - persistent::kSums * static_cast<int>(sizeof(float));
  return std::min(rest / persistent::kStageBytes, persistent::kMostStages);
}

template <typename T>
uint64_t append(std::vector<std::byte>& image, const std::vector<T>& values) {
  const size_t at = (image.size() + 255) / 256 * 256;
  image.resize(at + values.size() * sizeof(T));
  std::memcpy(image.data() + at, values.data(), values.size() * sizeof(T));
  return at;
}

}  // namespace

PersistentCapture::PersistentCapture(Schedule schedule, device::Device& device,
                                     Functions& functions, CudaStream& stream)
    : stream_(stream),
      schedule_(std::move(schedule)),
      blocks_(static_cast<unsigned>(schedule_.multiprocessors())) {
  OSTINATO_CUDA(cuCtxSetCurrent, stream.context());
  const bool half = schedule_.dtype == DType::float16;
  function_ = functions.find(half ? "persistent_float16" : "persistent_bfloat16");
  feed_back_ = functions.find("feed_back");
  launched_.stages = stages_of(schedule_);
  launched_.vector_bytes = static_cast<int32_t>(vector_bytes(schedule_));
  const int shared = launched_.stages * persistent::kStageBytes + launched_.vector_bytes +
                     persistent::kSums * static_cast<int>(sizeof(float)) + persistent::kFixedBytes;
  shared_bytes_ = static_cast<unsigned>(shared);
  OSTINATO_CUDA(cuFuncSetAttribute, function_, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                shared);
  int at_once = 0;
  OSTINATO_CUDA(cuOccupancyMaxActiveBlocksPerMultiprocessor, &at_once, function_, kThreads,
                shared_bytes_);
  fits_ = at_once > 0;
  const std::vector<std::byte> host = image(schedule_);
  memory_ = device.allocate(host.size());
  device.copy_to_device(memory_.get(), host.data(), host.size(), stream);
  device.synchronise(stream);
  operands_.at[0] = memory_.get();
  operands_.fault = stream.fault();
}

/// What the launch's own memory holds before the first: room for results, tables, tasks, counters.
std::vector<std::byte> PersistentCapture::image(const Schedule& schedule) {
  std::vector<std::byte> image(schedule.workspace_bytes);
  std::copy(schedule.tables.begin(), schedule.tables.end(),
            image.begin() + static_cast<std::ptrdiff_t>(schedule.tables_at));
  launched_.tasks = append(image, schedule.tasks);
  launched_.first = append(image, schedule.first);
  // One more for the blocks that are done.
  launched_.counters =
      append(image, std::vector<int32_t>(static_cast<size_t>(schedule.counters) + 1));
  launched_.counter_count = schedule.counters;
  launched_.tokens = append(image, std::vector<int64_t>(persistent::kMostSteps));
  if (std::getenv(kTimeline) != nullptr) {
    launched_.times = append(image, std::vector<persistent::Times>(schedule.tasks.size()));
  }
  return image;
}

PersistentCapture::~PersistentCapture() {
  if (stream_.is_borrowed()) {
    driver().cuCtxSetCurrent(stream_.context());
    stream_.settle();
  }
  if (const char* path = std::getenv(kTimeline); path != nullptr && launched_.times != 0) {
    try {
      write_times(path);
    } catch (const Error&) {
      fmt::print(stderr, "The timeline {} could not be written.\n", path);
    }
  }
}

/// A line a task: multiprocessor, operator, and its three times.
void PersistentCapture::write_times(const char* path) const {
  std::vector<persistent::Times> times(schedule_.tasks.size());
  OSTINATO_CUDA(cuCtxSetCurrent, stream_.context());
  OSTINATO_CUDA(cuMemcpyDtoHAsync, times.data(),
                reinterpret_cast<CUdeviceptr>(memory_.get()) + launched_.times,
                times.size() * sizeof(times[0]), stream_.get());
  OSTINATO_CUDA(cuStreamSynchronize, stream_.get());
  std::ofstream file(path);
  for (int sm = 0; sm < schedule_.multiprocessors(); ++sm) {
    const auto index = static_cast<size_t>(sm);
    for (int32_t i = schedule_.first[index]; i < schedule_.first[index + 1]; ++i) {
      const auto task = static_cast<size_t>(i);
      const auto& [turn, begin, end] = times[task];
      const auto& label = schedule_.labels[static_cast<size_t>(schedule_.tasks[task].call)];
      file << fmt::format("{}\t{}\t{}\t{}\t{}\n", sm, label, turn, begin, end);
    }
  }
}

void PersistentCapture::launch(const Bindings& bindings) {
  OSTINATO_CUDA(cuCtxSetCurrent, stream_.context());
  if (stream_.is_borrowed()) stream_.throw_fault();
  for (size_t i = 0; i < schedule_.pointers.size(); ++i) {
    operands_.at[i + 1] = pointer_of(schedule_.pointers[i], bindings);
  }
  void* arguments[] = {&operands_, &launched_};
  OSTINATO_CUDA(cuLaunchCooperativeKernel, function_, blocks_, 1, 1, kThreads, 1, 1, shared_bytes_,
                stream_.get(), arguments);
}

void PersistentCapture::replay(const Bindings& bindings) {
  launched_.steps = 1;
  operands_.at[persistent::kSeen] = nullptr;
  launch(bindings);
}

int PersistentCapture::steps_at_once() const {
  return schedule_.following ? persistent::kMostSteps : 1;
}

void PersistentCapture::advance(const Bindings& bindings, const device::Feedback& feedback) {
  const auto& following = schedule_.following;
  if (!following || following->output != feedback.output || following->input != feedback.input ||
      following->position != feedback.counter) {
    for (int i = 0; i < feedback.steps; ++i) {
      replay(bindings);
      feed_back(feed_back_, bindings, feedback, i, stream_);
    }
    return;
  }
  launched_.chosen = following->chosen;
  // With more stops than it has room for the host finds the others, as it finds all.
  const auto stops = feedback.stops.first(
      std::min(feedback.stops.size(), static_cast<size_t>(persistent::kMostStops)));
  std::copy(stops.begin(), stops.end(), launched_.stops);
  launched_.stop_count = static_cast<int32_t>(stops.size());
  operands_.at[persistent::kNextToken] = bindings.inputs[feedback.input];
  operands_.at[persistent::kNextPosition] = bindings.inputs[feedback.counter];
  for (int begin = 0; begin < feedback.steps; begin += launched_.steps) {
    launched_.steps = std::min(feedback.steps - begin, persistent::kMostSteps);
    operands_.at[persistent::kSeen] = feedback.seen + begin;
    launch(bindings);
  }
}

namespace {

/// Both, until the first replay has shown which is faster. A step writes nothing that it reads but
/// the caches' rows of its own position, so that it can run several times.
class Race final : public device::Capture {
 public:
  struct Result {
    Address address;
    DType dtype;
    size_t count;
  };

  /// @param remember is told which it was
  Race(std::unique_ptr<device::Capture> graph, std::unique_ptr<device::Capture> persistent,
       std::vector<Result> results, CudaStream& stream, std::function<void(bool)> remember)
      : graph_(std::move(graph)),
        persistent_(std::move(persistent)),
        results_(std::move(results)),
        stream_(stream),
        remember_(std::move(remember)) {}

  void replay(const Bindings& bindings) override { chosen(bindings).replay(bindings); }
  void advance(const Bindings& bindings, const device::Feedback& feedback) override {
    chosen(bindings).advance(bindings, feedback);
  }
  int steps_at_once() const override {
    return graph_ == nullptr ? persistent_->steps_at_once() : 1;
  }
  std::string remark() const override { return remark_; }

 private:
  device::Capture& chosen(const Bindings& bindings) {
    if (graph_ != nullptr && persistent_ != nullptr) choose(bindings);
    return persistent_ != nullptr ? *persistent_ : *graph_;
  }

  void choose(const Bindings& bindings) {
    const std::vector<float> expected = results(*graph_, bindings);
    const std::vector<float> got = results(*persistent_, bindings);
    const double graph = seconds(*graph_, bindings), persistent = seconds(*persistent_, bindings);
    const bool same = are_same(got, expected), persists = same && persistent < graph;
    remark_ = fmt::format("{}, since {}", persists ? "persistent launch" : "graph of kernels",
                          same ? fmt::format("a step took {:.1f} us in one launch and {:.1f} as a "
                                             "graph of kernels",
                                             1e6 * persistent, 1e6 * graph)
                               : "results of the persistent launch differ");
    (persists ? graph_ : persistent_).reset();
    remember_(persists);
  }

  double seconds(device::Capture& capture, const Bindings& bindings) {
    constexpr int kReplays = 5;
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kReplays; ++i) capture.replay(bindings);
    stream_.synchronise();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() /
           kReplays;
  }

  /// All floating results of a replay, one after the other.
  std::vector<float> results(device::Capture& capture, const Bindings& bindings) {
    capture.replay(bindings);
    std::vector<float> all;
    for (const Result& result : results_) {
      std::vector<std::byte> host(result.count * size_of(result.dtype));
      const auto from = reinterpret_cast<CUdeviceptr>(pointer_of(result.address, bindings));
      OSTINATO_CUDA(cuMemcpyDtoHAsync, host.data(), from + result.address.offset, host.size(),
                    stream_.get());
      stream_.synchronise();
      dispatch(result.dtype, [&](auto tag) {
        using T = typename decltype(tag)::type;
        if constexpr (is_floating_v<T>) {
          const T* values = reinterpret_cast<const T*>(host.data());
          for (size_t i = 0; i < result.count; ++i) all.push_back(to_float(values[i]));
        }
      });
    }
    stream_.synchronise();
    return all;
  }

  /// Within what roundings of a whole step in these dtypes may differ by.
  static bool are_same(const std::vector<float>& got, const std::vector<float>& expected) {
    constexpr float kTolerance = 0.03f;
    float largest = 0;
    for (const float x : expected) largest = std::max(largest, std::fabs(x));
    return std::equal(got.begin(), got.end(), expected.begin(), expected.end(),
                      [&](float a, float b) { return std::fabs(a - b) <= kTolerance * largest; });
  }

  std::unique_ptr<device::Capture> graph_, persistent_;
  std::vector<Result> results_;
  CudaStream& stream_;
  std::function<void(bool)> remember_;
  std::string remark_ = "not chosen yet";
};

std::vector<Race::Result> results_of(const std::vector<persistent::Call>& calls) {
  std::vector<Race::Result> results;
  for (const persistent::Call& call : calls) {
    for (size_t i = 0; i < call.outputs.size(); ++i) {
      if (call.outputs[i].kind != Address::Kind::output) continue;
      const device::TensorDesc& desc = call.request.outputs[i];
      results.push_back({call.outputs[i], desc.dtype, static_cast<size_t>(desc.numel())});
    }
  }
  return results;
}

/// All that decides which is faster: the GPU, the kernels, and what is called with which sizes.
std::string key_of(const std::vector<persistent::Call>& calls, const Functions& functions) {
  std::string key = fmt::format("decode step {} {}", functions.model(), functions.code());
  for (const persistent::Call& call : calls) {
    key += fmt::format("\n{}", call.request.node->op->name);
    for (const auto& desc : call.request.inputs) {
      if (desc) key += fmt::format(" {}({})", name_of(desc->dtype), fmt::join(desc->sizes(), ","));
    }
  }
  return key;
}

}  // namespace

Persistent persistent_of_environment() {
  const char* value = std::getenv("OSTINATO_PERSISTENT");
  if (value == nullptr) return Persistent::measured;
  const std::string_view name = value;
  if (name == "on") return Persistent::on;
  if (name == "off") return Persistent::off;
  fail(ErrorCode::invalid_argument, kStage, "Set it to on or off, or unset it to let it measure.",
       "expected OSTINATO_PERSISTENT to be on or off, got '{}'", name);
}

std::unique_ptr<device::Capture> make_capture(std::vector<device::Step> steps,
                                              device::Device& device, Functions& functions,
                                              CudaStream& stream, bool can_persist) {
  const Persistent wanted = persistent_of_environment();
  const auto graph = [&](std::string_view reason) {
    return std::make_unique<CudaCapture>(std::move(steps), functions, stream,
                                         fmt::format("graph of kernels, since {}", reason));
  };
  if (wanted == Persistent::off) return graph("OSTINATO_PERSISTENT is off");
  if (!can_persist) return graph("the GPU is older than compute capability 9.0");
  std::vector<persistent::Call> calls;
  for (const device::Step& step : steps) {
    calls.push_back({static_cast<const Kernel&>(*step.kernel).request, step.inputs, step.outputs});
  }
  persistent::Planned planned = persistent::make_schedule(calls, functions.multiprocessors());
  if (planned.schedule) {
    const auto& tasks = planned.schedule->tasks;
    if (!std::all_of(tasks.begin(), tasks.end(), is_aligned)) {
      planned = {{}, "weights or caches begin within 16 bytes"};
    } else if (stages_of(*planned.schedule) < kLeastStages) {
      planned = {{}, "a vector leaves too little shared memory"};
    }
  }
  const auto refused = [&](std::string_view reason) {
    if (wanted == Persistent::on) fmt::print(stderr, "A graph of kernels, since {}.\n", reason);
    return graph(reason);
  };
  if (!planned.schedule) return refused(planned.reason);
  const std::string key = key_of(calls, functions);
  device::PackedWeights& choices = *calls.front().request.packed;
  const auto chosen = wanted == Persistent::measured ? choices.choice(key) : std::nullopt;
  if (chosen == 0) return graph("it was faster when that was measured");
  auto single =
      std::make_unique<PersistentCapture>(std::move(*planned.schedule), device, functions, stream);
  if (!single->fits()) return refused("no multiprocessor has room for a block of it");
  if (wanted == Persistent::on || chosen) return single;
  return std::make_unique<Race>(
      std::make_unique<CudaCapture>(std::move(steps), functions, stream), std::move(single),
      results_of(calls), stream,
      [&choices, key](bool persists) { choices.remember(key, persists ? 1 : 0); });
}

}  // namespace ostinato::cuda
