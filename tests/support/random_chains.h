#pragma once

#include <cstdint>

#include "ostinato/ir/graph.h"

namespace ostinato {

/// A graph of what models are made of: norms, gated and plain products, rotary embeddings,
/// attention, chains of elementwise calls; each in one of the spellings that models have for it,
/// and some of them not quite, so that a fusion must leave them alone: another dim, another order,
/// another reader of what lies in between. Sizes are small, and some are the symbols s0 and s1 of
/// `random_bindings`.
///
/// The same for the same seed, but for `dtype`, which values are computed in: float32 is what the
/// others can be held to, since all constants and `random_inputs` are exact in every dtype.
ir::Graph random_chains(const ir::OpTable& table, uint32_t seed, DType dtype);

}  // namespace ostinato
