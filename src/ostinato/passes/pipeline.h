#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "ostinato/passes/pass.h"

namespace ostinato::passes {

/// What one run of one pass did.
struct PassReport {
  std::string_view name;
  int round = 0;  ///< the passes run in rounds until none changes anything
  bool changed = false;
  size_t nodes_before = 0, nodes_after = 0;
  int64_t microseconds = 0;
};

struct PipelineOptions {
  std::vector<std::string> off = {};  ///< passes to leave out, by name
  PassContext context = {};
  /// Called after every pass, with what it left; `inspect` prints from here.
  std::function<void(const PassReport& report, const ir::Graph& graph)> after_each = {};
  bool late = true;  ///< also the late passes: not for a graph that will be optimised again
};

/// The passes, in the order in which they run.
std::span<const Pass> pipeline();

/// Throws `invalid_argument` for a name that is no pass's.
void check_names(const std::vector<std::string>& names);

/// Runs the passes over the graph until none changes it, or for `kMaxRounds` rounds. Builds with
/// assertions verify the graph after each pass. Throws `invalid_argument` for an unknown name in
/// `off`.
std::vector<PassReport> optimise(ir::Graph& graph, const PipelineOptions& options = {});

/// What is left to do for an optimised graph when its symbols become integers, which every new
/// length waits for: the passes that sizes let do more, once.
void optimise_bound(ir::Graph& graph, const PipelineOptions& options = {});

inline constexpr int kMaxRounds = 8;

}  // namespace ostinato::passes
