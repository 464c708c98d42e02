#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ostinato/runtime/context.h"

namespace ostinato::runtime {

/// The steps of a decoder that follow its prompt, each on the token that the one before it chose.
/// Tokens stay on the device: the host queues steps ahead, and reads each token from page-locked
/// memory when the step's event has come. Nothing else may use the executable's context meanwhile.
class TokenQueue {
 public:
  /// @param step captured, for one token: takes `input_ids`, `position` and `last`, gives `logits`
  ///        and `next_token`
  /// @param token the first that is fed, at this position
  /// @param outputs in the host's memory, that a device which shares it writes to
  /// @param steps at most so many are run; the cache has room for them
  TokenQueue(Executable& step, int64_t token, int64_t position, std::span<void* const> outputs,
             int64_t steps);
  /// Waits for steps that nobody asked for; what they chose is dropped, and what they wrote to the
  /// cache is overwritten before any token attends to it.
  ~TokenQueue();
  TokenQueue(const TokenQueue&) = delete;
  TokenQueue& operator=(const TokenQueue&) = delete;

  /// The next token, as soon as it is there. At most `steps` times.
  int64_t next();

 private:
  static constexpr size_t kAhead = 4;  // enough for a host that is late by a step or two

  void queue_one();

  Executable& step_;
  int64_t token_, position_, last_ = 0;
  std::array<void*, 3> inputs_{&token_, &position_, &last_};
  std::vector<void*> outputs_;
  size_t ahead_;
  std::shared_ptr<int64_t> seen_;  // of `ahead_` steps, in turns
  std::vector<std::unique_ptr<device::Event>> events_;
  size_t steps_, queued_ = 0, taken_ = 0;
};

}  // namespace ostinato::runtime
