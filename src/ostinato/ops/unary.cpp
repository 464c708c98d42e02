#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

namespace {

using ir::Node;
using ir::Value;
using ir::ValueType;

// Integers and bools become the default floating dtype.
std::vector<ValueType> infer_floating(const Node& node) {
  const Value* self = node.operands[0];
  return {{is_floating(self->dtype()) ? self->dtype() : DType::float32, self->shape()}};
}

std::vector<ValueType> infer_floating_only(const Node& node) {
  require_floating(node, node.operands[0]);
  return infer_same(node);
}

std::vector<ValueType> infer_gelu(const Node& node) {
  const std::string& approximate = node.string("approximate");
  if (approximate != "none" && approximate != "tanh") {
    reject(node, "Those are the two forms of GELU.",
           "expected approximate to be 'none' or 'tanh', got '{}'", approximate);
  }
  return infer_floating_only(node);
}

std::vector<ValueType> infer_number(const Node& node) {
  if (node.operands[0]->dtype() == DType::boolean) {
    reject(node, "Convert it with aten._to_copy, or use aten.logical_not.",
           "expected a number, got bool");
  }
  return infer_same(node);
}

std::vector<ValueType> infer_bits(const Node& node) {
  if (is_floating(node.operands[0]->dtype())) {
    reject(node, "Convert it with aten._to_copy.", "expected an integer or bool dtype, got {}",
           name_of(node.operands[0]->dtype()));
  }
  return infer_same(node);
}

std::vector<ValueType> infer_predicate(const Node& node) {
  return {{DType::boolean, node.operands[0]->shape()}};
}

std::vector<ValueType> infer_hardtanh(const Node& node) {
  const DType dtype = node.operands[0]->dtype();
  if (dtype == DType::uint8 && (node.real("min_val") < 0 || node.real("max_val") < 0)) {
    reject(node, "Give limits of at least zero.",
           "expected limits that uint8 can hold, got {} and {}", node.real("min_val"),
           node.real("max_val"));
  }
  return infer_number(node);
}

std::vector<ValueType> infer_clamp(const Node& node) {
  if (!node.has("min") && !node.has("max")) {
    reject(node, "Give a lower or an upper limit.", "expected min or max, got neither");
  }
  // As two calls of result_type: with the lower limit, then with the upper one.
  Value limited = *node.operands[0];
  limited.type.dtype = promote(node.operands, node.attribute("min"));
  Value* const operand = &limited;
  return {{promote({&operand, 1}, node.attribute("max")), limited.shape()}};
}

std::vector<ValueType> infer_clamp_tensor(const Node& node) {
  if (node.operand("min") == nullptr && node.operand("max") == nullptr) {
    reject(node, "Give a lower or an upper limit.", "expected min or max, got neither");
  }
  return {{promote(node.operands), broadcast(node, node.operands)}};
}

}  // namespace

void add_unary(ir::OpTable& table) {
  using enum ir::AttrKind;
  const auto add = [&table](std::string_view name, ir::OpRow::InferRule infer,
                            std::vector<ir::AttrSpec> attributes = {}) {
    table.add({.name = name,
               .operands = {{"self"}},
               .attributes = std::move(attributes),
               .infer = infer,
               .traits = {.elementwise = true}});
  };
  for (const std::string_view name :
       {"aten.acos",  "aten.acosh", "aten.asin",       "aten.asinh", "aten.atan",    "aten.atanh",
        "aten.cos",   "aten.cosh",  "aten.erf",        "aten.exp",   "aten.expm1",   "aten.log",
        "aten.log10", "aten.log1p", "aten.log2",       "aten.rsqrt", "aten.sigmoid", "aten.sin",
        "aten.sinh",  "aten.sqrt",  "aten.reciprocal", "aten.tan",   "aten.tanh"}) {
    add(name, infer_floating);
  }
  for (const std::string_view name : {"aten.abs", "aten.ceil", "aten.floor", "aten.neg",
                                      "aten.relu", "aten.round", "aten.trunc"}) {
    add(name, infer_number);
  }
  for (const std::string_view name :
       {"aten.hardsigmoid", "aten.hardswish", "aten.mish", "aten.silu"}) {
    add(name, infer_floating_only);
  }
  for (const std::string_view name : {"aten.isinf", "aten.isnan", "aten.logical_not"}) {
    add(name, infer_predicate);
  }
  add("aten.sign", infer_same);
  add("aten.bitwise_not", infer_bits);
  add("aten.gelu", infer_gelu, {{"approximate", string, "none"}});
  add("aten.hardtanh", infer_hardtanh,
      {{"min_val", scalar, ir::Dim(-1)}, {"max_val", scalar, ir::Dim(1)}});
  add("aten.leaky_relu", infer_floating_only, {{"negative_slope", scalar, 0.01}});
  add("aten.elu", infer_floating_only,
      {{"alpha", scalar, ir::Dim(1)},
       {"scale", scalar, ir::Dim(1)},
       {"input_scale", scalar, ir::Dim(1)}});
  add("aten.softplus", infer_floating_only,
      {{"beta", scalar, ir::Dim(1)}, {"threshold", scalar, ir::Dim(20)}});
  add("aten.clamp", infer_clamp,
      {{"min", scalar, ir::Attribute{}}, {"max", scalar, ir::Attribute{}}});
  table.add({.name = "aten.clamp.Tensor",
             .operands = {{"self"},
                          {"min", ir::OperandKind::optional},
                          {"max", ir::OperandKind::optional}},
             .infer = infer_clamp_tensor,
             .traits = {.elementwise = true}});
}

}  // namespace ostinato::ops
