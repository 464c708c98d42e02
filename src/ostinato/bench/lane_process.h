#pragma once

#include <sys/types.h>

#include "ostinato/bench/lane.h"
#include "ostinato/bench/side_by_side.h"
#include "ostinato/bench/wire.h"

namespace ostinato::bench {

/// A lane in a process of its own, kept to the processors of its spec, so that its peak memory is
/// its own and lanes can take turns. Forked: make it before this process starts threads. The child
/// ends with this object, and with the parent, however the parent ends.
class LaneProcess final : public MeasuredLane {
 public:
  explicit LaneProcess(LaneSpec spec);
  ~LaneProcess() override;
  LaneProcess(LaneProcess&& other) noexcept;
  LaneProcess& operator=(LaneProcess&&) = delete;

  const LaneSpec& spec() const { return spec_; }
  std::string_view name() const override { return spec_.kind.name; }

  // As in Lane. An Error of the child is thrown here again; a child that ends is an `io` one where
  // somebody else ended it, `internal` otherwise. Anonymous memory is watched in all calls but
  // `time` and `generate`, which measure time.
  Json first_call(const NamedTensors& inputs) override;
  void warm_up(int64_t iterations) override;
  Json time(int64_t iterations, double budget_ms) override;
  NamedTensors outputs() override;
  Json prepare_generation(const std::vector<int64_t>& prompt, int64_t max_new_tokens,
                          int64_t capacity);
  Json generate(const std::vector<int64_t>& prompt, int64_t max_new_tokens);
  Json judge(const std::vector<int64_t>& prompt, const std::vector<int64_t>& tokens);
  Json perplexity(const std::vector<int64_t>& ids);

  Json memory() override;

 private:
  Message ask(Json request, NamedTensors tensors = {});
  [[noreturn]] void report_end();

  LaneSpec spec_;
  pid_t child_ = -1;
  int socket_ = -1;
};

}  // namespace ostinato::bench
