#pragma once

#include <gtest/gtest.h>

#include <string>

#include "ostinato/ir/text.h"
#include "ostinato/ir/verifier.h"
#include "ostinato/ops/ops.h"
#include "ostinato/passes/pass.h"

namespace ostinato::passes {

using Run = bool (*)(ir::Graph&, const PassContext&);

/// The statements of a graph after the pass, without its header. Checks that the graph verifies,
/// that the pass says truly whether it changed anything, and that a second run finds nothing.
inline std::string rewritten(Run run, const std::string& statements,
                             const PassContext& context = {}) {
  ir::Graph graph = ir::parse("ostinato.graph 1 \"test\"\n" + statements, ops::table());
  const std::string before = print(graph);
  const bool changed = run(graph, context);
  EXPECT_NO_THROW(ir::verify(graph)) << before;
  const std::string after = print(graph);
  EXPECT_EQ(changed, after != before) << before;
  EXPECT_FALSE(run(graph, context)) << before;
  EXPECT_EQ(print(graph), after);
  return after.substr(after.find('\n') + 1);
}

/// After the pass and the removal of what nobody reads any more.
inline std::string rewritten_and_cleaned(Run run, const std::string& statements,
                                         const PassContext& context = {}) {
  return rewritten(eliminate_dead, rewritten(run, statements, context));
}

}  // namespace ostinato::passes
