#pragma once

#include <sys/types.h>

#include <filesystem>

#include "ostinato/bench/lane.h"

namespace ostinato::bench {

/// A lane in a process of its own, so that its peak memory is its own and lanes can take turns.
/// Forked: make it before this process starts threads. The child ends with this object, and with
/// the parent.
class LaneProcess {
 public:
  /// @param scratch an existing folder, for tensors on their way between the processes
  LaneProcess(LaneSpec spec, std::filesystem::path scratch);
  ~LaneProcess();
  LaneProcess(LaneProcess&& other) noexcept;
  LaneProcess& operator=(LaneProcess&&) = delete;

  const LaneSpec& spec() const { return spec_; }

  // As in Lane. An Error of the child is thrown here again; a child that dies is an `internal` one
  // (`out_of_memory` when the system killed it).
  Json first_call(const NamedTensors& inputs);
  Json time(int64_t iterations, double budget_ms);
  NamedTensors outputs();
  Json generate(const std::vector<int64_t>& prompt, int64_t max_new_tokens, bool ignore_stop);
  Json judge(const std::vector<int64_t>& prompt, const std::vector<int64_t>& tokens);
  Json memory();

 private:
  Json ask(const Json& request);
  std::filesystem::path file(std::string_view name) const;

  LaneSpec spec_;
  std::filesystem::path scratch_;
  pid_t child_ = -1;
  int socket_ = -1;
};

}  // namespace ostinato::bench
