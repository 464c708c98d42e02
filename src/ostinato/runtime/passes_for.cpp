#include "ostinato/runtime/passes_for.h"

#include "ostinato/ops/ops.h"
#include "ostinato/passes/pipeline.h"

namespace ostinato::runtime {

std::vector<std::string> passes_off_for(const device::Device& device,
                                        std::vector<std::string> off) {
  for (const passes::Pass& pass : passes::pipeline()) {
    if (pass.makes.empty() || device.has(ops::table().at(pass.makes))) continue;
    off.emplace_back(pass.name);
  }
  return off;
}

}  // namespace ostinato::runtime
