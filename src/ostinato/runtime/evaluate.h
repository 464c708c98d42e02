#pragma once

#include "ostinato/passes/pass.h"

namespace ostinato::runtime {

/// What the passes compute constants with: the reference kernels of the CPU, whatever device the
/// graph is for. A call without a kernel, or one that fails (an index out of range), is left to the
/// run, which reports it.
passes::PassContext constant_evaluator();

}  // namespace ostinato::runtime
