#include "ostinato/passes/rewrite.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "ostinato/base/dtype.h"
#include "ostinato/ops/ops.h"

namespace ostinato::passes {

using ir::Node;
using ir::Value;
using ir::ValueKind;

bool shares_state(const Value* value) {
  for (;;) {
    if (value->kind != ValueKind::result) return value->kind == ValueKind::state;
    const Node& producer = *value->producer;
    if (producer.overwritten(static_cast<size_t>(value->index)) != nullptr) return true;
    if (!producer.op->traits.view) return false;
    value = producer.operands[0];
  }
}

bool one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

void replace(ir::Graph& graph, Node* node, Value* value) {
  graph.replace_all_uses(node->results[0], value);
  graph.erase(node);
}

ir::Builder builder_before(ir::Graph& graph, const Node* node) {
  ir::Builder builder(graph, ops::table(), node);
  builder.set_source(node->source);
  return builder;
}

bool writes_between(const Node& first, const Node& last) {
  return std::any_of(first.position, last.position,
                     [](const auto& node) { return node->op->traits.writes(); });
}

bool fuse_calls(ir::Graph& graph, std::initializer_list<Fusion> fusions) {
  bool changed = false;
  const auto& nodes = graph.nodes();
  for (auto it = nodes.begin(); it != nodes.end();) {
    Node* node = (it++)->get();
    for (const Fusion fuse : fusions) {
      Value* fused = fuse(graph, node);
      if (fused == nullptr) continue;
      replace(graph, node, fused);
      changed = true;
      break;
    }
  }
  return changed;
}

std::optional<std::vector<size_t>> permutation_of(const Node& node) {
  const std::string_view name = node.op->name;
  if (name != "aten.permute" && name != "aten.transpose.int" && name != "aten.t") {
    return std::nullopt;
  }
  const auto rank = static_cast<int64_t>(node.operands[0]->rank());
  const auto wrap = [rank](int64_t dim) { return static_cast<size_t>(dim < 0 ? dim + rank : dim); };
  std::vector<size_t> order(static_cast<size_t>(rank));
  std::iota(order.begin(), order.end(), size_t{0});
  if (name == "aten.permute") {
    const std::vector<int64_t> dims = node.integers("dims");
    for (size_t i = 0; i < order.size(); ++i) order[i] = wrap(dims[i]);
  } else if (rank >= 2) {
    const bool named = name == "aten.transpose.int";
    std::swap(order[named ? wrap(node.integer("dim0")) : 0],
              order[named ? wrap(node.integer("dim1")) : 1]);
  }
  return order;
}

bool keeps_order(const std::vector<size_t>& permutation, const ir::Shape& shape) {
  size_t next = 0;
  for (const size_t dim : permutation) {
    if (shape[dim].is(1)) continue;
    if (dim < next) return false;
    next = dim;
  }
  return true;
}

std::optional<double> scalar_of(const Node& node, std::string_view attribute) {
  const ir::Dim* integer = std::get_if<ir::Dim>(&node.attribute(attribute));
  if (integer != nullptr && !integer->is_constant()) return std::nullopt;
  return node.real(attribute);
}

namespace {

std::optional<double> uniform_constant(const Tensor& data) {
  constexpr int64_t kMaxElements = 64;
  if (!data.defined() || data.numel() == 0 || data.numel() > kMaxElements) return std::nullopt;
  return dispatch(data.dtype(), [&](auto tag) -> std::optional<double> {
    using T = typename decltype(tag)::type;
    const auto at = [&data](int64_t i) {
      if constexpr (is_floating_v<T>) {
        return static_cast<double>(to_float(data.as<T>()[i]));
      } else {
        return static_cast<double>(data.as<T>()[i]);
      }
    };
    for (int64_t i = 1; i < data.numel(); ++i) {
      // By bits: 0.0 and -0.0 are not the same.
      if (std::bit_cast<uint64_t>(at(i)) != std::bit_cast<uint64_t>(at(0))) return std::nullopt;
    }
    return at(0);
  });
}

}  // namespace

std::optional<double> uniform_value(const Value* value) {
  while (value->kind == ValueKind::result && value->producer->op->traits.view) {
    value = value->producer->operands[0];  // a view shows no other elements
  }
  if (value->kind == ValueKind::constant) return uniform_constant(value->data);
  if (value->kind != ValueKind::result) return std::nullopt;
  const Node& node = *value->producer;
  const std::string_view name = node.op->name;
  if (name == "aten.zeros" || name == "aten.zeros_like") return 0.0;
  if (name == "aten.ones" || name == "aten.ones_like") return 1.0;
  if (name != "aten.full" && name != "aten.full_like" && name != "aten.scalar_tensor") {
    return std::nullopt;
  }
  const ir::Attribute& fill = node.attribute(name == "aten.scalar_tensor" ? "s" : "fill_value");
  const ir::Dim* integer = std::get_if<ir::Dim>(&fill);
  if (integer != nullptr && !integer->is_constant()) return std::nullopt;
  double result = node.real(name == "aten.scalar_tensor" ? "s" : "fill_value");
  // Only what every dtype holds as it is: others are rounded, or cut off.
  const bool small = result == std::floor(result) && std::abs(result) <= 1;
  if (!small || (result < 0 && !is_floating(value->dtype()))) return std::nullopt;
  return is_floating(value->dtype()) ? result : std::abs(result);
}

}  // namespace ostinato::passes
