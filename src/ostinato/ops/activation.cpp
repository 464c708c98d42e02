#include "ostinato/ops/activation.h"

#include <algorithm>
#include <array>

#include "ostinato/ops/infer.h"

namespace ostinato::ops {

namespace {

// In the order of the enumeration.
constexpr std::array<std::string_view, 6> kNames = {"none",      "relu",       "gelu",
                                                    "gelu_tanh", "quick_gelu", "silu"};

}  // namespace

std::string_view name_of(Activation activation) { return kNames[static_cast<size_t>(activation)]; }

Activation activation_of(const ir::Node& node) {
  const auto& specs = node.op->attributes;
  const bool has_one = std::any_of(specs.begin(), specs.end(), [](const ir::AttrSpec& spec) {
    return spec.name == "activation";
  });
  if (!has_one) return Activation::none;
  const std::string& name = node.string("activation");
  const auto* found = std::find(kNames.begin(), kNames.end(), name);
  if (found != kNames.end()) return static_cast<Activation>(found - kNames.begin());
  reject(node, fmt::format("Use one of {}.", fmt::join(kNames, ", ")),
         "there is no activation '{}'", name);
}

}  // namespace ostinato::ops
