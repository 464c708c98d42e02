#include "support/scheduled_device.h"

#include <algorithm>

#include "ostinato/base/error.h"

namespace ostinato {

namespace {

using cuda::persistent::Call;
using cuda::persistent::Emulator;
using device::Address;

/// A kernel of the CPU's, and what it was asked for.
struct Prepared final : device::Kernel {
  Prepared(std::unique_ptr<device::Kernel> kernel, device::Request asked)
      : below(std::move(kernel)), request(std::move(asked)) {}
  size_t scratch_bytes() const override { return below->scratch_bytes(); }

  std::shared_ptr<const device::Kernel> below;
  device::Request request;
};

const Prepared& prepared(const device::Step& step) {
  return static_cast<const Prepared&>(*step.kernel);
}

device::Step below(device::Step step) {
  step.kernel = prepared(step).below;
  return step;
}

class ScheduledCapture final : public device::Capture {
 public:
  ScheduledCapture(std::shared_ptr<Emulator> emulator, const ScheduledDevice& device)
      : emulator_(std::move(emulator)), device_(device) {}

  void replay(const device::Bindings& bindings) override { run(bindings, 1); }

  void advance(const device::Bindings& bindings, const device::Feedback& feedback) override {
    run(bindings, feedback.steps);
    const std::vector<int64_t>& tokens = emulator_->tokens();
    std::copy(tokens.begin(), tokens.end(), feedback.seen);
    *static_cast<int64_t*>(bindings.inputs[feedback.input]) = tokens.back();
    *static_cast<int64_t*>(bindings.inputs[feedback.counter]) += feedback.steps;
  }
  int steps_at_once() const override { return emulator_->schedule().following ? 5 : 1; }

 private:
  void run(const device::Bindings& bindings, int steps) {
    std::vector<void*> pointers;
    for (const Address& address : emulator_->schedule().pointers) {
      const auto& of = address.kind == Address::Kind::input ? bindings.inputs : bindings.outputs;
      pointers.push_back(of[address.index]);
    }
    bool done = false;
    try {
      done = emulator_->run(pointers, steps, device_.random.get());
    } catch (const cuda::persistent::BadIndex& bad) {
      const auto& task = emulator_->schedule().tasks[static_cast<size_t>(bad.task)];
      fail(ErrorCode::invalid_argument, "run", "Give another index.", "a bad index in {}",
           emulator_->schedule().labels[static_cast<size_t>(task.call)]);
    }
    if (!done) fail(ErrorCode::internal, "run", "Look at the counters.", "a deadlock");
  }

  std::shared_ptr<Emulator> emulator_;
  const ScheduledDevice& device_;
};

}  // namespace

std::unique_ptr<device::Kernel> ScheduledDevice::prepare(const device::Request& request) {
  std::unique_ptr<device::Kernel> kernel = below_.prepare(request);
  if (kernel == nullptr) return nullptr;
  return std::make_unique<Prepared>(std::move(kernel), request);
}

void ScheduledDevice::launch(const device::Step& step, const device::Bindings& bindings,
                             device::Stream& stream) {
  below_.launch(below(step), bindings, stream);
}

std::unique_ptr<device::Capture> ScheduledDevice::capture(std::vector<device::Step> steps,
                                                          device::Stream& stream) {
  std::vector<Call> calls;
  for (const device::Step& step : steps) {
    calls.push_back({prepared(step).request, step.inputs, step.outputs});
  }
  auto planned = cuda::persistent::make_schedule(calls, multiprocessors_);
  reason = planned.reason;
  emulator.reset();
  if (!planned.schedule) {
    for (device::Step& step : steps) step = below(std::move(step));
    return below_.capture(std::move(steps), stream);
  }
  emulator = std::make_shared<Emulator>(std::move(*planned.schedule));
  return std::make_unique<ScheduledCapture>(emulator, *this);
}

}  // namespace ostinato
