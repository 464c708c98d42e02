#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

namespace {

using ir::Dim;
using ir::Node;
using ir::Shape;
using ir::Value;
using ir::ValueType;

void require_shape(const Node& node, std::string_view name, const Shape& expected) {
  const Value* operand = node.operand(name);
  if (operand == nullptr) return;
  require_rank(node, operand, expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    require_equal(node, fmt::format("dim {} of '{}'", i, name), expected[i], operand->shape()[i]);
  }
}

// Results: normalised, mean and 1 / sqrt(variance + eps); the latter two with dims of size one.
std::vector<ValueType> infer_layer_norm(const Node& node) {
  const Value* input = node.operand("input");
  require_floating(node, input);
  const Shape& normalized = node.dims("normalized_shape");
  Shape statistics = input->shape();
  if (normalized.empty() || normalized.size() > statistics.size()) {
    reject(node, "Name the sizes of the last dims.",
           "expected between 1 and {} sizes to normalise, got {}", statistics.size(),
           to_string(normalized));
  }
  const size_t first = statistics.size() - normalized.size();
  for (size_t i = 0; i < normalized.size(); ++i) {
    require_equal(node, fmt::format("size {} of {}", i, to_string(normalized)),
                  statistics[first + i], normalized[i]);
    statistics[first + i] = 1;
  }
  require_shape(node, "weight", normalized);
  require_shape(node, "bias", normalized);
  const ValueType moments{input->dtype(), statistics};
  return {input->type, moments, moments};
}

// input (N, C, ...) in `group` runs of channels; mean and 1 / sqrt(variance + eps) are (N, group)
std::vector<ValueType> infer_group_norm(const Node& node) {
  const Value* input = node.operand("input");
  require_floating(node, input);
  const Dim &n = node.dim("N"), &c = node.dim("C");
  const int64_t group = node.integer("group");
  if (input->rank() < 2) {
    reject(node, "Give (N, C, ...).", "expected at least 2 dims, got {}",
           to_string(input->shape()));
  }
  require_equal(node, "N", input->shape()[0], n);
  require_equal(node, "C", input->shape()[1], c);
  require_equal(node, "N * C * HxW", numel(input->shape()), n * c * node.dim("HxW"));
  if (group < 1 || (c.is_constant() && c.value() % group != 0)) {
    reject(node, "Give a divisor of the channels.", "cannot divide {} channels into {} groups",
           c.str(), group);
  }
  require_shape(node, "weight", {c});
  require_shape(node, "bias", {c});
  const ValueType moments{input->dtype(), {n, group}};
  return {input->type, moments, moments};
}

// The schema's second and third results are only made in training: here they have no elements.
std::vector<ValueType> infer_batch_norm(const Node& node) {
  const Value* input = node.operand("input");
  require_floating(node, input);
  if (input->rank() < 2) {
    reject(node, "Give (N, C, ...).", "expected at least 2 dims, got {}",
           to_string(input->shape()));
  }
  for (const std::string_view name : {"weight", "bias", "running_mean", "running_var"}) {
    require_shape(node, name, {input->shape()[1]});
  }
  const ValueType none{input->dtype(), {0}};
  return {input->type, none, none};
}

}  // namespace

void add_normalization(ir::OpTable& table) {
  using enum ir::AttrKind;
  const ir::OperandSpec weight{"weight", ir::OperandKind::optional},
      bias{"bias", ir::OperandKind::optional};
  table.add({.name = "aten.native_layer_norm",
             .operands = {{"input"}, weight, bias},
             .attributes = {{"normalized_shape", integers}, {"eps", real}},
             .results = 3,
             .infer = infer_layer_norm});
  table.add(
      {.name = "aten.native_group_norm",
       .operands = {{"input"}, weight, bias},
       .attributes =
           {{"N", integer}, {"C", integer}, {"HxW", integer}, {"group", integer}, {"eps", real}},
       .results = 3,
       .infer = infer_group_norm});
  table.add({.name = "aten._native_batch_norm_legit_no_training",
             .operands = {{"input"}, weight, bias, {"running_mean"}, {"running_var"}},
             .attributes = {{"momentum", real}, {"eps", real}},
             .results = 3,
             .infer = infer_batch_norm});
}

}  // namespace ostinato::ops
