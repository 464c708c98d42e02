#include "ostinato/device/cpu/capture.h"

#include <algorithm>

#include "ostinato/base/error.h"

namespace ostinato::cpu {

CpuCapture::CpuCapture(std::vector<device::Step> steps, CpuStream& stream)
    : steps_(std::move(steps)), stream_(stream) {
  size_t slot_count = 0;
  for (const device::Step& step : steps_)
    slot_count += step.inputs.size() + step.outputs.size() + 1;
  slots_.reserve(slot_count);  // calls point into it
  const auto bind = [this](const device::Address& address) {
    using Kind = device::Address::Kind;
    if (address.kind == Kind::input || address.kind == Kind::output) {
      patches_.push_back({slots_.size(), address});
    }
    slots_.push_back(address.kind == Kind::fixed ? address.pointer : nullptr);
  };
  for (const device::Step& step : steps_) {
    Call call{static_cast<const Kernel*>(step.kernel.get()), {}, false};
    call.args.inputs = slots_.data() + slots_.size();
    std::for_each(step.inputs.begin(), step.inputs.end(), bind);
    call.args.outputs = slots_.data() + slots_.size();
    std::for_each(step.outputs.begin(), step.outputs.end(), bind);
    call.args.scratch = step.scratch.pointer;  // never the caller's
    call.args.fault = &fault_;
    calls_.push_back(call);
  }
  for (size_t i = 0; i < calls_.size(); ++i) {
    const bool several = calls_[i].kernel->workers() > 1;
    const bool several_next = i + 1 < calls_.size() && calls_[i + 1].kernel->workers() > 1;
    calls_[i].barrier = i + 1 < calls_.size() && (several || several_next);
    parallel_ = parallel_ || several;
  }
}

void CpuCapture::replay(const device::Bindings& bindings) {
  using Kind = device::Address::Kind;
  for (const Patch& patch : patches_) {
    const auto& pointers = patch.address.kind == Kind::input ? bindings.inputs : bindings.outputs;
    slots_[patch.slot] = static_cast<char*>(pointers[patch.address.index]) + patch.address.offset;
  }
  if (parallel_) {
    stream_.team.run([this](Worker worker) { run(worker); });
  } else {
    run({0, 1});
  }
  if (fault_.load(std::memory_order_relaxed) != nullptr) report_fault();
}

void CpuCapture::run(Worker worker) const {
  for (const Call& call : calls_) {
    const int workers = call.kernel->workers();
    if (worker.index < workers) call.kernel->run(call.args, {worker.index, workers});
    if (call.barrier) stream_.team.barrier();
  }
}

void CpuCapture::report_fault() {
  const ir::Node* node = fault_.exchange(nullptr);
  fail(ErrorCode::invalid_argument, fmt::format("run/{}", node->op->name),
       "Check the token ids, positions, index tensors and divisors that were given.",
       "an operand holds an index out of range, a zero divisor or a range without bounds{}",
       node->source.empty() ? "" : fmt::format(" (at {})", node->source));
}

}  // namespace ostinato::cpu
