#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ostinato/passes/pipeline.h"

namespace ostinato::passes {

/// Which pass made a call, and what of.
struct Origin {
  std::string_view pass;
  int round = 0;
  /// The calls that nothing needed any more once this one was there, as the graph before the pass
  /// had them.
  std::vector<const ir::Node*> calls;
};

/// Watches the passes rewrite a graph. Call `watch` with the graph before the first, and `record`
/// as the pipeline's `after_each`.
class History {
 public:
  void watch(const ir::Graph& graph);
  void record(const PassReport& report, const ir::Graph& graph);

  /// Null for a call that was there from the beginning.
  /// @param id of the call's first result, which no later call ever has again
  const Origin* origin(int id) const;

 private:
  std::vector<ir::Graph> graphs_;  // before each pass that changed something, and after the last
  std::unordered_map<int, Origin> origins_;
};

}  // namespace ostinato::passes
