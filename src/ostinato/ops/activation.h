#pragma once

#include <cstdint>
#include <string_view>

namespace ostinato::ir {
struct Node;
}

/// What products apply to each element they give.
namespace ostinato::ops {

/// gelu: x · Φ(x); gelu_tanh: its approximation by tanh; quick_gelu: x · σ(1.702 · x) (Hendrycks
/// and Gimpel 2016).
enum class Activation : int32_t { none, relu, gelu, gelu_tanh, quick_gelu, silu };

inline constexpr double kQuickGelu = 1.702;

/// As the attribute `activation` names it.
std::string_view name_of(Activation activation);

/// The call's attribute; none where its operator has none. Throws for a name that is not known.
Activation activation_of(const ir::Node& node);

}  // namespace ostinato::ops
