#include "ostinato/plan/storage.h"

#include <algorithm>

namespace ostinato::plan {

using ir::Layout;
using ir::Node;
using ir::Value;

size_t extent_of(const ir::Layout& layout) {
  int64_t last = 0;
  for (size_t d = 0; d < layout.sizes.size(); ++d) {
    if (layout.sizes[d] == 0) return 0;
    last += (layout.sizes[d] - 1) * layout.strides[d];
  }
  return static_cast<size_t>(last) + 1;
}

void Storages::put(const Value* value, Located where) {
  residents_[{where.place.kind, where.place.index}].push_back(value);
  located_[value] = std::move(where);
}

const Value* Storages::operand_to_overwrite(const Node& node, size_t result, const Layout& layout,
                                            const Options& options) const {
  const auto may = [&](const Value* operand) {
    return may_overwrite(node, operand, node.results[result], layout, options);
  };
  if (const Value* operand = node.in_place_operand(result)) return may(operand) ? operand : nullptr;
  if (!node.op->traits.elementwise || node.results.size() != 1) return nullptr;
  const auto found = std::find_if(node.operands.begin(), node.operands.end(), may);
  return found == node.operands.end() ? nullptr : *found;
}

bool Storages::may_overwrite(const Node& node, const Value* operand, const Value* result,
                             const Layout& layout, const Options& options) const {
  if (operand == nullptr || operand->type != result->type) return false;
  const Located& at = located_.at(operand);
  if (!at.layout.coincides(layout)) return false;
  const Key key{at.place.kind, at.place.index};
  if (at.place.kind == Place::Kind::input) {
    const bool donated =
        std::any_of(options.donations.begin(), options.donations.end(),
                    [&](const Donation& donation) { return donation.input == at.place.index; });
    if (!donated) return false;
  } else if (at.place.kind != Place::Kind::arena || !options.in_place) {
    return false;
  }
  const bool anywhere = !node.op->traits.elementwise;  // not only the same element
  for (const Value* other : node.operands) {
    if (other == nullptr || other == operand) continue;
    const Located& there = located_.at(other);
    if (Key{there.place.kind, there.place.index} != key) continue;
    const bool same = there.place.offset == at.place.offset && there.layout == at.layout &&
                      other->dtype() == operand->dtype();
    if (anywhere || !same) return false;
  }
  if (anywhere && std::count(node.operands.begin(), node.operands.end(), operand) > 1) return false;
  return !is_read_later(key, node);
}

bool Storages::is_read_later(const Key& key, const Node& node) const {
  const auto& residents = residents_.at(key);
  return std::any_of(residents.begin(), residents.end(), [&](const Value* value) {
    if (value->output_uses > 0) return true;
    return std::any_of(value->uses.begin(), value->uses.end(), [&](const Value::Use& use) {
      return use.node != &node && passed_.count(use.node) == 0;
    });
  });
}

std::unordered_map<const Value*, Slice> cat_slices(const ir::Graph& graph) {
  std::unordered_map<const Value*, Slice> slices;
  for (const auto& node : graph.nodes()) {
    if (node->op->name != "aten.cat" || node->list().size() < 2) continue;
    const Value* result = node->results[0];
    int64_t dim = node->integer("dim");
    if (dim < 0) dim += static_cast<int64_t>(result->rank());
    const auto& shape = result->shape();
    const bool is_outermost = std::all_of(shape.begin(), shape.begin() + dim,
                                          [](const ir::Dim& size) { return size.is(1); });
    if (!is_outermost) continue;
    std::unordered_map<const Value*, Slice> found;
    size_t offset = 0;
    for (const Value* operand : node->list()) {
      const Node* producer = operand->producer;
      const bool fits = producer != nullptr && !producer->op->traits.view &&
                        !producer->op->traits.writes() && producer->op->name != "aten.cat" &&
                        operand->rank() == result->rank() && operand->dtype() == result->dtype() &&
                        operand->output_uses == 0 && slices.count(operand) == 0;
      if (!fits || !found.emplace(operand, Slice{node.get(), offset}).second) break;
      offset += bytes_of(*operand);
    }
    if (found.size() == node->list().size()) slices.merge(found);
  }
  return slices;
}

}  // namespace ostinato::plan
