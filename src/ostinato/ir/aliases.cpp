#include "ostinato/ir/aliases.h"

#include <algorithm>
#include <numeric>
#include <optional>

namespace ostinato::ir {

namespace {

using Aliases = std::unordered_map<const Value*, Alias>;

Alias alias_of(const Node& node, size_t index, const Aliases& aliases) {
  const Value* result = node.results[index];
  if (const Value* state = node.overwritten(index)) return aliases.at(state);
  if (node.op->traits.view) {
    const Alias& shown = aliases.at(node.operands[0]);
    if (auto layout = node.op->view(node, index, shown.layout)) return {shown.base, *layout};
  }
  const auto operand = aliases.find(node.in_place_operand(index));
  return {result,
          result_layout(node, index, operand == aliases.end() ? nullptr : &operand->second.layout)};
}

/// The layout that a permutation, of all dims but the last, shows row-major; nullopt for any other
/// reader.
std::optional<Layout> unpermuted(const Node& reader, const Layout& rows) {
  if (!reader.op->traits.view || reader.results.size() != 1) return std::nullopt;
  Layout tagged = rows;  // each dim's stride is its number, to be recognised by
  std::iota(tagged.strides.begin(), tagged.strides.end(), int64_t{0});
  const std::optional<Layout> shown = reader.op->view(reader, 0, tagged);
  if (!shown || shown->rank() != rows.rank() || shown->offset != 0) return std::nullopt;
  Layout wanted = rows;
  std::vector<bool> seen(rows.rank(), false);
  int64_t stride = 1;
  for (size_t d = rows.rank(); d-- > 0;) {
    const auto dim = static_cast<size_t>(shown->strides[d]);
    const bool is_own = dim < rows.rank() && !seen[dim] && rows.sizes[dim] == shown->sizes[d];
    if (!is_own || (d + 1 == rows.rank() && dim != d)) return std::nullopt;
    seen[dim] = true;
    wanted.strides[dim] = stride;
    stride *= std::max<int64_t>(1, rows.sizes[dim]);
  }
  return wanted;
}

}  // namespace

Layout result_layout(const Node& node, size_t result, const Layout* operand) {
  const Value* value = node.results[result];
  Layout rows = Layout::contiguous(to_integers(value->shape()));
  if (!node.op->traits.strided || value->output_uses > 0 || value->uses.empty()) return rows;
  if (value->uses.size() == 1) {
    if (auto wanted = unpermuted(*value->uses[0].node, rows)) return *wanted;
  }
  const bool like_operand =
      operand != nullptr && operand->sizes == rows.sizes && operand->is_dense() &&
      std::all_of(value->uses.begin(), value->uses.end(),
                  [](const Value::Use& use) { return use.node->op->traits.strided; });
  return like_operand ? Layout{rows.sizes, operand->strides, 0} : rows;
}

Aliases find_aliases(const Graph& graph) {
  Aliases aliases;
  for (const auto* leaves : {&graph.inputs(), &graph.constants(), &graph.states()}) {
    for (const Value* leaf : *leaves) {
      aliases[leaf] = {leaf, Layout::contiguous(to_integers(leaf->shape()))};
    }
  }
  for (const auto& node : graph.nodes()) {
    for (size_t i = 0; i < node->results.size(); ++i) {
      Alias alias = alias_of(*node, i, aliases);
      aliases.emplace(node->results[i], std::move(alias));
    }
  }
  return aliases;
}

}  // namespace ostinato::ir
