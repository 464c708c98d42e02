#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "ostinato/ir/graph.h"

namespace ostinato {

struct RandomGraphOptions {
  size_t nodes = 24;       ///< how many calls, about
  bool symbolic = false;   ///< some sizes are the symbols s0 and s1
  int64_t elements = 512;  ///< at most so many in a value; by the first of `random_bindings`
  std::function<bool(const ir::OpRow&)> use = {};  ///< which rows to draw from; null: all
};

/// Under each of these a symbolic random graph becomes a graph of integers that verifies.
const std::vector<ir::Bindings>& random_bindings();

/// A graph that verifies, of calls drawn from the table's rows, the same for the same seed.
/// Operands and attributes are drawn until the row's rule takes them; the rows that would hardly
/// ever be hit so (matrix products, caches, …) have operands made for them. Constants have data.
ir::Graph random_graph(const ir::OpTable& table, uint32_t seed,
                       const RandomGraphOptions& options = {});

/// Tensors for the graph's inputs: small reals, and integers that are 0 or 1.
std::vector<Tensor> random_inputs(const ir::Graph& graph, const ir::Bindings& bindings,
                                  uint32_t seed);

}  // namespace ostinato
