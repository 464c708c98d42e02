#include "ostinato/runtime/token_queue.h"

#include "ostinato/base/error.h"

namespace ostinato::runtime {

TokenQueue::TokenQueue(Executable& step, int64_t token, int64_t position,
                       std::span<void* const> outputs, int64_t steps)
    : step_(step),
      token_(token),
      position_(position),
      outputs_(outputs.begin(), outputs.end()),
      ahead_(step.device().shares_host_memory() ? 1 : kAhead),  // nothing queues where it does
      seen_(std::static_pointer_cast<int64_t>(
          step.device().allocate_staging(ahead_ * sizeof(int64_t)))),
      steps_(static_cast<size_t>(steps)) {
  for (size_t i = 0; i < ahead_; ++i) events_.push_back(step.device().make_event(step.stream()));
  step_.bring({inputs_, outputs_});
}

TokenQueue::~TokenQueue() {
  try {
    step_.device().synchronise(step_.stream());
  } catch (const Error&) {  // of steps whose tokens nobody wants; the next call meets what lasts
  }
}

void TokenQueue::queue_one() {
  const size_t slot = queued_ % ahead_;
  step_.advance({.output = 1, .input = 0, .counter = 1, .seen = seen_.get() + slot});
  events_[slot]->record();
  ++queued_;
}

int64_t TokenQueue::next() {
  while (queued_ < steps_ && queued_ - taken_ < ahead_) queue_one();
  const size_t slot = taken_++ % ahead_;
  events_[slot]->wait();
  return seen_.get()[slot];
}

}  // namespace ostinato::runtime
