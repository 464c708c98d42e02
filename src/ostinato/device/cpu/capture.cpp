#include "ostinato/device/cpu/capture.h"

#include <algorithm>

#include "ostinato/base/error.h"

namespace ostinato::cpu {

namespace {

/// Puts the steps of each side one after the other.
void sort_sides(std::vector<device::Step>& steps) {
  for (auto first = steps.begin(), last = first; first != steps.end(); first = last) {
    last = std::find_if(first, steps.end(), [&](const device::Step& step) {
      return step.branch.section != first->branch.section;
    });
    if (first->branch.section == 0) continue;
    std::stable_sort(first, last, [](const device::Step& a, const device::Step& b) {
      return a.branch.side < b.branch.side;
    });
  }
}

}  // namespace

CpuCapture::CpuCapture(std::vector<device::Step> steps, CpuStream& stream) : stream_(stream) {
  sort_sides(steps);
  size_t slot_count = 0;
  for (const device::Step& step : steps) slot_count += step.inputs.size() + step.outputs.size() + 1;
  slots_.reserve(slot_count);  // calls point into it
  calls_.reserve(steps.size());
  kernels_.reserve(steps.size());
  for (const device::Step& step : steps) bind(step);
  divide(steps);
}

void CpuCapture::bind(const device::Step& step) {
  const auto bind = [this](const device::Address& address) {
    using Kind = device::Address::Kind;
    if (address.kind == Kind::input || address.kind == Kind::output) {
      patches_.push_back({slots_.size(), address});
    }
    slots_.push_back(address.kind == Kind::fixed ? address.pointer : nullptr);
  };
  Call call{static_cast<const Kernel*>(step.kernel.get()), {}, false};
  call.args.inputs = slots_.data() + slots_.size();
  std::for_each(step.inputs.begin(), step.inputs.end(), bind);
  call.args.outputs = slots_.data() + slots_.size();
  std::for_each(step.outputs.begin(), step.outputs.end(), bind);
  call.args.scratch = step.scratch.pointer;  // never the caller's
  call.args.fault = &fault_;
  share(call);
  calls_.push_back(call);
  kernels_.push_back(step.kernel);
}

void CpuCapture::share(Call& call) {
  const int workers = call.kernel->workers();
  if (workers == 1 || call.kernel->items({0, workers}) == 0) return;
  shares_.push_back(std::make_unique<Share[]>(static_cast<size_t>(workers)));
  call.args.shares = shares_.back().get();
  for (int i = 0; i < workers; ++i) {
    deals_.push_back({&call.args.shares[i], call.kernel->items({i, workers})});
  }
}

void CpuCapture::divide(const std::vector<device::Step>& steps) {
  const auto several = [this](size_t i) { return calls_[i].kernel->workers() > 1; };
  for (size_t i = 0; i < steps.size();) {
    Part part;
    bool any_several = false;
    for (const size_t section = steps[i].branch.section;
         i < steps.size() && steps[i].branch.section == section;) {
      const size_t first = i;
      for (; i < steps.size() && steps[i].branch == steps[first].branch; ++i) {
        any_several = any_several || several(i);
        if (i > first) calls_[i - 1].barrier = several(i - 1) || several(i);
      }
      part.sides.push_back({first, i, nullptr});
    }
    parallel_ = parallel_ || any_several;
    if (part.sides.size() > 1) {
      if (!any_several) part.claimed = std::make_unique<std::atomic<size_t>>(0);
      for (Side& side : part.sides) side.barrier = std::make_unique<Barrier>();
    }
    parts_.push_back(std::move(part));
  }
}

void CpuCapture::replay(const device::Bindings& bindings) {
  using Kind = device::Address::Kind;
  for (const Patch& patch : patches_) {
    const auto& pointers = patch.address.kind == Kind::input ? bindings.inputs : bindings.outputs;
    slots_[patch.slot] = static_cast<char*>(pointers[patch.address.index]) + patch.address.offset;
  }
  for (Part& part : parts_) {
    if (part.claimed != nullptr) part.claimed->store(0, std::memory_order_relaxed);
  }
  for (const Deal& deal : deals_) deal.share->deal(deal.items);
  if (parallel_) {
    stream_.team.run([this](Worker worker) { run(worker); });
  } else {
    for (const Part& part : parts_) {
      if (part.sides.size() == 1) {
        run(part, {0, 1});
      } else {
        stream_.team.invite([&](Worker worker) { run(part, worker); });
      }
    }
  }
  if (fault_.load(std::memory_order_relaxed) != nullptr) report_fault();
}

void CpuCapture::run(Worker worker) const {
  for (const Part& part : parts_) {
    run(part, worker);
    if (&part != &parts_.back()) stream_.team.barrier();
  }
}

void CpuCapture::run(const Part& part, Worker worker) const {
  const size_t sides = part.sides.size();
  if (sides == 1) {
    run(part.sides[0], worker);
  } else if (part.claimed != nullptr) {
    for (size_t side; (side = part.claimed->fetch_add(1, std::memory_order_relaxed)) < sides;) {
      run(part.sides[side], {0, 1});
    }
  } else {
    const int each = worker.count / static_cast<int>(sides);
    const auto side = static_cast<size_t>(worker.index / each);
    if (side < sides) run(part.sides[side], {worker.index % each, each});
  }
}

void CpuCapture::run(const Side& side, Worker worker) const {
  for (size_t i = side.first; i < side.last; ++i) {
    const Call& call = calls_[i];
    const int workers = call.kernel->workers();
    if (worker.index < workers) call.kernel->run(call.args, {worker.index, workers});
    if (!call.barrier) continue;
    if (side.barrier != nullptr) {
      side.barrier->wait(worker.count);
    } else {
      stream_.team.barrier();
    }
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
