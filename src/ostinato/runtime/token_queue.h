#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ostinato/runtime/context.h"

namespace ostinato::runtime {

/// The steps of a decoder that follow its prompt, each on the token that the one before it chose.
/// Tokens stay on the device: the host queues steps ahead, and reads tokens from page-locked memory
/// when the event behind them has come. Nothing else may use the executable's context meanwhile.
class TokenQueue {
 public:
  struct Limits {
    int64_t steps;                   ///< at most so many are run; the cache has room for them
    std::span<const int64_t> stops;  ///< tokens that no step need follow
    bool one_by_one;                 ///< each token as soon as it is there
  };

  /// @param step captured, for one token: takes `input_ids`, `position` and `last`, gives `logits`
  ///        and `next_token`
  /// @param token the first that is fed, at this position
  /// @param outputs in the host's memory, that a device which shares it writes to
  TokenQueue(Executable& step, int64_t token, int64_t position, std::span<void* const> outputs,
             const Limits& limits);
  /// Waits for steps that nobody asked for; what they chose is dropped, and what they wrote to the
  /// cache is overwritten before any token attends to it.
  ~TokenQueue();
  TokenQueue(const TokenQueue&) = delete;
  TokenQueue& operator=(const TokenQueue&) = delete;

  /// The next tokens, which come together; valid until the next call. Those after a stop mean
  /// nothing. Not to be asked for more than all steps.
  std::span<const int64_t> next();

 private:
  static constexpr size_t kAhead = 4;      // enough for a host that is late by a step or two
  static constexpr int64_t kTogether = 8;  // most steps to a launch

  struct Batch {
    std::unique_ptr<device::Event> event;
    int64_t* seen;
    size_t count;
  };

  void queue_some();

  Executable& step_;
  Limits limits_;
  int64_t token_, position_, last_ = 0;
  std::array<void*, 3> inputs_{&token_, &position_, &last_};
  std::vector<void*> outputs_;
  std::shared_ptr<void> seen_;
  std::vector<Batch> batches_;  // in turns
  size_t queued_ = 0, taken_ = 0;
};

}  // namespace ostinato::runtime
