#include "ostinato/bench/fallbacks.h"

#include <fmt/format.h>

namespace ostinato::bench {

Json fallbacks_of(const plan::Plan& plan, const device::Device& device) {
  Json fallbacks = Json::array();
  for (const plan::Step& step : plan.steps) {
    if (!device.falls_back(*step.node->op)) continue;
    fallbacks.push_back(
        {{"node", fmt::format("%{} = {}", step.node->results[0]->id, step.node->op->name)},
         {"reason", fmt::format("{} has no fast kernel for {}: the reference kernel runs",
                                device.name(), step.node->op->name)},
         {"remedy", "Keep the operator off large tensors, or add a kernel: see CONTRIBUTING.md."}});
  }
  return fallbacks;
}

}  // namespace ostinato::bench
