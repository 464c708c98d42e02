#include "ostinato/runtime/token_queue.h"

#include <algorithm>

#include "ostinato/base/error.h"

namespace ostinato::runtime {

TokenQueue::TokenQueue(Executable& step, int64_t token, int64_t position,
                       std::span<void* const> outputs, const Limits& limits)
    : step_(step),
      limits_(limits),
      token_(token),
      position_(position),
      outputs_(outputs.begin(), outputs.end()) {
  device::Device& device = step.device();
  const size_t ahead = device.shares_host_memory() ? 1 : kAhead;  // nothing queues where it does
  seen_ = device.allocate_staging(ahead * kTogether * sizeof(int64_t));
  for (size_t i = 0; i < ahead; ++i) {
    batches_.push_back(
        {device.make_event(step.stream()), static_cast<int64_t*>(seen_.get()) + i * kTogether, 0});
  }
  step_.bring({inputs_, outputs_});
}

TokenQueue::~TokenQueue() {
  try {
    step_.device().synchronise(step_.stream());
  } catch (const Error&) {  // of steps whose tokens nobody wants; the next call meets what lasts
  }
}

void TokenQueue::queue_some() {
  Batch& batch = batches_[queued_ % batches_.size()];
  const int64_t at_once = limits_.one_by_one ? 1 : step_.steps_at_once();
  const int64_t count = std::min({at_once, kTogether, limits_.steps});
  batch.count = static_cast<size_t>(count);
  limits_.steps -= count;
  step_.advance({.output = 1,
                 .input = 0,
                 .counter = 1,
                 .seen = batch.seen,
                 .steps = static_cast<int>(count),
                 .stops = limits_.stops});
  batch.event->record();
  ++queued_;
}

std::span<const int64_t> TokenQueue::next() {
  while (limits_.steps > 0 && queued_ - taken_ < batches_.size()) queue_some();
  const Batch& batch = batches_[taken_++ % batches_.size()];
  batch.event->wait();
  return {batch.seen, batch.count};
}

}  // namespace ostinato::runtime
