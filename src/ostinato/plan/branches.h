#pragma once

#include <functional>
#include <vector>

#include "ostinato/plan/plan.h"

namespace ostinato::plan {

/// Puts independent branches side by side: finds runs of steps that fall into sets without a hazard
/// between them (one that reads or writes what another writes, in any memory), packs these into as
/// many sides as the machine has workers for, and says so in `Step::branch` where the steps then
/// take clearly less time. A step takes the same workers and time there as it does alone: no side
/// holds one that wants more workers than the side has.
/// @param seconds that a step takes; asked for only where there are branches
void mark_branches(std::vector<Step>& steps, const device::Concurrency& machine,
                   const std::function<double(const Step&)>& seconds);

/// Says of each buffer, whose first and last steps are known, which side it belongs to; one that
/// several use is alive over all of their sections.
void keep_sides_apart(const std::vector<Step>& steps, std::vector<Buffer>& buffers);

}  // namespace ostinato::plan
