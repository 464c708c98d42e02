#pragma once

#include <map>
#include <memory>
#include <vector>

#include "ostinato/base/progress.h"
#include "ostinato/device/device.h"
#include "ostinato/plan/memory.h"

namespace ostinato::plan {

/// Where an operand lives: in something of the caller's, in a constant or state, or in the arena.
struct Place {
  enum class Kind { none, input, output, constant, state, arena };
  Kind kind = Kind::none;
  size_t index = 0;   ///< which input, output or state; of `arena` which buffer
  size_t offset = 0;  ///< bytes from its beginning
  const ir::Value* constant = nullptr;
  size_t bytes = 0;  ///< from the first that the operand covers to its last
};

/// One launch.
struct Step {
  const ir::Node* node = nullptr;
  std::shared_ptr<const device::Kernel> kernel;
  std::vector<Place> inputs, outputs;
  Place scratch;
  device::Branch branch = {};
};

/// An output that is to stand in an input's memory when all steps are done.
struct Donation {
  size_t output, input;
};

/// A concrete graph turned into launches and memory. Views have become strides; values that no
/// kernel could read as they lie have been copied; every output is written where the caller wants
/// it.
struct Plan {
  ir::Graph graph;  ///< what the steps' nodes belong to
  std::vector<Step> steps;
  std::vector<Buffer> buffers;
  size_t arena_bytes = 0;
  std::vector<Donation> donations;  ///< that were offered: these inputs may be written to
  std::vector<bool> in_input;  ///< by output: it is in the input donated to it, and nowhere else
};

struct Options {
  device::Tier tier = device::Tier::fast;
  int threads = 1;
  Progress progress = {};
  bool in_place = false;      ///< calls may write over operands that nothing reads afterwards
  bool cat_in_place = false;  ///< calls may write to where `aten.cat` would put their results
  bool reorder = false;       ///< calls may run earlier where less memory is alive then
  bool branches = false;      ///< independent branches may run side by side where that pays
  /// Inputs whose memory the caller lets calls overwrite, so that the outputs need no copy. One
  /// that cannot be proven safe is left alone, and its output goes where every output goes.
  std::vector<Donation> donations = {};
  std::map<int, int> thread_limits = {};  ///< of the calls whose first results have these ids
};

/// Plans a graph whose sizes are all integers. Throws `unsupported` naming the operator, dtypes and
/// source line when the device has no kernel for a node.
Plan make_plan(ir::Graph graph, device::Device& device, device::PackedWeights& packed,
               const Options& options);

/// Throws `internal` unless the plan is sound: every step reads only what was written before it and
/// not overwritten since, nothing overlaps in the arena, nothing reaches beyond it, every output is
/// written, and no side of a section touches what another writes. It shares no code with the
/// planner.
void check_plan(const Plan& plan);

}  // namespace ostinato::plan
