#pragma once

#include <vector>

#include "ostinato/ir/graph.h"

/// A model's layers: equal runs of calls that follow each other, each with weights of its own.
namespace ostinato::passes {

struct Layers {
  std::vector<const ir::Node*> calls;  ///< of the first layer
  size_t count;                        ///< at least two
};

/// In their order, and as many calls of the graph in layers as can be; of two towers two. Layers
/// are equal if their calls are, but for weights and states, and if each reads in itself, in the
/// one before or outside of all what the others read there. Calls that depend on no weights, such
/// as those that make rotary tables, belong to no layer. In graphs of a hundred thousand calls only
/// layers of up to some hundred are sought.
std::vector<Layers> find_layers(const ir::Graph& graph);

}  // namespace ostinato::passes
