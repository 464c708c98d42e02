#pragma once

#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "ostinato/ir/graph.h"

namespace ostinato::passes {

/// What a pass may need beside the graph.
struct PassContext {
  /// Computes a node from its operands' values (undefined for None), which are dense; the node's
  /// own operands need not be constants. No results: it cannot. Null: nothing is ever computed.
  std::function<std::vector<Tensor>(const ir::Node& node, std::span<const Tensor> operands)>
      evaluate;
  /// The elements of a constant that lies on the graph's device. Null: they cannot be had.
  std::function<Tensor(const ir::Value& constant)> read = {};
};

/// One rewrite. What it leaves behind verifies and computes the same values.
struct Pass {
  std::string_view name;     ///< as `passes_off` and reports have it
  std::string_view summary;  ///< one sentence
  bool (*run)(ir::Graph& graph, const PassContext& context);  ///< whether it changed anything
  /// It runs when all others find nothing more: in what it leaves they would find nothing.
  bool late = false;
  std::string_view makes = {};  ///< runs only for devices that have this operator; empty: for all
  bool by_size = false;         ///< may find more once symbols are integers, and then runs again
};

// One function a file of this room. Each is what its summary in pipeline.cpp says.
bool eliminate_common(ir::Graph& graph, const PassContext& context);
bool eliminate_dead(ir::Graph& graph, const PassContext& context);
bool fold_constants(ir::Graph& graph, const PassContext& context);
bool fold_views(ir::Graph& graph, const PassContext& context);
bool fuse_add_norm(ir::Graph& graph, const PassContext& context);
bool fuse_attention(ir::Graph& graph, const PassContext& context);
bool fuse_elementwise(ir::Graph& graph, const PassContext& context);
bool fuse_gated_linear(ir::Graph& graph, const PassContext& context);
bool fuse_gelu(ir::Graph& graph, const PassContext& context);
bool fuse_layer_norm(ir::Graph& graph, const PassContext& context);
bool fuse_linear(ir::Graph& graph, const PassContext& context);
bool fuse_norm_linear(ir::Graph& graph, const PassContext& context);
bool fuse_rms_norm(ir::Graph& graph, const PassContext& context);
bool fuse_rotary(ir::Graph& graph, const PassContext& context);
bool fuse_rotary_pair(ir::Graph& graph, const PassContext& context);
bool fuse_softmax(ir::Graph& graph, const PassContext& context);
bool fuse_swiglu(ir::Graph& graph, const PassContext& context);
bool merge_linears(ir::Graph& graph, const PassContext& context);
bool remove_noops(ir::Graph& graph, const PassContext& context);
bool select_early(ir::Graph& graph, const PassContext& context);
bool use_linear(ir::Graph& graph, const PassContext& context);

}  // namespace ostinato::passes
