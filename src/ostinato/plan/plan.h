#pragma once

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
};

/// One launch.
struct Step {
  const ir::Node* node = nullptr;
  std::shared_ptr<const device::Kernel> kernel;
  std::vector<Place> inputs, outputs;
  Place scratch;
};

/// A concrete graph turned into launches and memory. Views have become strides; values that no
/// kernel could read as they lie have been copied; every output is written where the caller wants
/// it.
struct Plan {
  ir::Graph graph;  ///< what the steps' nodes belong to
  std::vector<Step> steps;
  std::vector<Buffer> buffers;
  size_t arena_bytes = 0;
};

struct Options {
  device::Tier tier = device::Tier::fast;
  int threads = 1;
  Progress progress = {};
};

/// Plans a graph whose sizes are all integers. Throws `unsupported` naming the operator, dtypes and
/// source line when the device has no kernel for a node.
Plan make_plan(ir::Graph graph, device::Device& device, device::PackedWeights& packed,
               const Options& options);

/// Throws `internal` unless the plan is sound: every step reads only what was written before it and
/// not overwritten since, nothing overlaps in the arena, nothing reaches beyond it, and every
/// output is written. It shares no code with the planner.
void check_plan(const Plan& plan);

}  // namespace ostinato::plan
