#include "ostinato/plan/eager.h"

#include <algorithm>
#include <iterator>
#include <unordered_map>
#include <vector>

#include "ostinato/ir/aliases.h"
#include "ostinato/plan/memory.h"

namespace ostinato::plan {

// It shares no code with the planner, whose claims it is held against.
size_t eager_peak(const ir::Graph& graph) {
  const auto aliases = ir::find_aliases(graph);
  std::unordered_map<const ir::Value*, Buffer> buffers;
  size_t step = 0;
  const auto touch = [&](const ir::Value* value) {
    const auto found = buffers.find(aliases.at(value).base);
    if (found != buffers.end()) found->second.last = step;
  };
  for (const auto& node : graph.nodes()) {
    for (const ir::Value* operand : node->operands) {
      if (operand != nullptr) touch(operand);
    }
    for (const ir::Value* result : node->results) {
      if (aliases.at(result).base == result) buffers[result] = {bytes_of(*result), step, step};
    }
    ++step;
  }
  for (const ir::Output& output : graph.outputs()) buffers.erase(aliases.at(output.value).base);
  std::vector<Buffer> all;
  std::transform(buffers.begin(), buffers.end(), std::back_inserter(all),
                 [](const auto& entry) { return entry.second; });
  return lower_bound(all);
}

}  // namespace ostinato::plan
