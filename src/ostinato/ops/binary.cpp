#include <algorithm>

#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

namespace {

using ir::Attribute;
using ir::Node;
using ir::ValueType;

bool has_attribute(const Node& node, std::string_view name) {
  const auto& specs = node.op->attributes;
  return std::any_of(specs.begin(), specs.end(),
                     [name](const ir::AttrSpec& spec) { return spec.name == name; });
}

// What the operands, and the scalar that stands for one of them, are computed in.
DType common_dtype(const Node& node) {
  for (const std::string_view name : {"other", "exponent"}) {
    if (node.operands.size() == 1 && has_attribute(node, name)) {
      return promote(node.operands, node.attribute(name));
    }
  }
  // `aten.pow.Scalar`: its base is the scalar.
  return has_attribute(node, "self") ? promote(node.operands, node.attribute("self"))
                                     : promote(node.operands);
}

std::vector<ValueType> result(const Node& node, DType dtype) {
  return {{dtype, broadcast(node, node.operands)}};
}

std::vector<ValueType> infer_binary(const Node& node) { return result(node, common_dtype(node)); }

// self + alpha * other
std::vector<ValueType> infer_add(const Node& node) {
  const DType dtype = common_dtype(node);
  const Attribute& alpha = node.attribute("alpha");
  if (std::holds_alternative<double>(alpha) && !is_floating(dtype)) {
    reject(node, "Give an integer.", "expected an integer alpha for a result of dtype {}, got {}",
           name_of(dtype), to_string(alpha));
  }
  if (std::holds_alternative<bool>(alpha) && dtype != DType::boolean) {
    reject(node, "Give a number.", "expected a number for alpha, got a bool");
  }
  return result(node, dtype);
}

std::vector<ValueType> infer_sub(const Node& node) {
  const bool scalar_is_bool =
      has_attribute(node, "other") && std::holds_alternative<bool>(node.attribute("other"));
  const bool tensor_is_bool =
      std::any_of(node.operands.begin(), node.operands.end(),
                  [](const ir::Value* value) { return value->dtype() == DType::boolean; });
  if (scalar_is_bool || tensor_is_bool) {
    reject(node, "Use aten.logical_xor or aten.logical_not.", "expected numbers, got bool");
  }
  return infer_add(node);
}

// True division.
std::vector<ValueType> infer_divide(const Node& node) {
  const DType dtype = common_dtype(node);
  return result(node, is_floating(dtype) ? dtype : DType::float32);
}

std::vector<ValueType> infer_number(const Node& node) {
  const DType dtype = common_dtype(node);
  if (dtype == DType::boolean) {
    reject(node, "Convert one of them with aten._to_copy.", "expected a number, got only bools");
  }
  return result(node, dtype);
}

std::vector<ValueType> infer_divide_mode(const Node& node) {
  if (!node.has("rounding_mode")) return infer_divide(node);
  const std::string& mode = node.string("rounding_mode");
  if (mode != "trunc" && mode != "floor") {
    reject(node, "Those are the modes there are.",
           "expected rounding_mode to be None, 'trunc' or 'floor', got '{}'", mode);
  }
  return infer_number(node);
}

std::vector<ValueType> infer_pow(const Node& node) {
  if (node.operands.size() == 2) return infer_number(node);
  const DType dtype = common_dtype(node);
  const Attribute* exponent =
      has_attribute(node, "exponent") ? &node.attribute("exponent") : nullptr;
  const ir::Dim* integer = exponent != nullptr ? std::get_if<ir::Dim>(exponent) : nullptr;
  if (integer != nullptr && integer->is_constant() && integer->value() < 0 && !is_floating(dtype)) {
    reject(node, "Convert the base to a floating dtype with aten._to_copy.",
           "expected an exponent of at least 0 for integers, got {}", integer->value());
  }
  return result(node, dtype);
}

std::vector<ValueType> infer_bitwise(const Node& node) {
  const DType dtype = common_dtype(node);
  if (is_floating(dtype)) {
    reject(node, "Convert them with aten._to_copy.", "expected integers or bools, got {}",
           name_of(dtype));
  }
  return result(node, dtype);
}

std::vector<ValueType> infer_logical(const Node& node) { return result(node, DType::boolean); }

}  // namespace

void add_binary(ir::OpTable& table) {
  using enum ir::AttrKind;
  using Attributes = std::vector<ir::AttrSpec>;
  const auto add_tensor = [&table](std::string_view name, ir::OpRow::InferRule infer,
                                   Attributes attributes = {}) {
    table.add({.name = name,
               .operands = {{"self"}, {"other"}},
               .attributes = std::move(attributes),
               .infer = infer,
               .traits = {.elementwise = true}});
  };
  const auto add_scalar = [&table](std::string_view name, ir::OpRow::InferRule infer,
                                   Attributes more = {}) {
    more.insert(more.begin(), {"other", scalar});
    table.add({.name = name,
               .operands = {{"self"}},
               .attributes = std::move(more),
               .infer = infer,
               .traits = {.elementwise = true}});
  };
  const Attributes alpha = {{"alpha", scalar, ir::Dim(1)}};
  const Attributes mode = {{"rounding_mode", string, Attribute{}}};

  add_tensor("aten.add.Tensor", infer_add, alpha);
  add_scalar("aten.add.Scalar", infer_add, alpha);
  add_tensor("aten.sub.Tensor", infer_sub, alpha);
  add_scalar("aten.sub.Scalar", infer_sub, alpha);
  add_tensor("aten.mul.Tensor", infer_binary);
  add_scalar("aten.mul.Scalar", infer_binary);
  add_tensor("aten.div.Tensor", infer_divide);
  add_scalar("aten.div.Scalar", infer_divide);
  add_tensor("aten.div.Tensor_mode", infer_divide_mode, mode);
  add_scalar("aten.div.Scalar_mode", infer_divide_mode, mode);
  add_tensor("aten.minimum", infer_binary);
  add_tensor("aten.maximum", infer_binary);
  add_tensor("aten.atan2", infer_divide);
  add_tensor("aten.fmod.Tensor", infer_number);
  add_scalar("aten.fmod.Scalar", infer_number);
  add_tensor("aten.remainder.Tensor", infer_number);
  add_scalar("aten.remainder.Scalar", infer_number);
  add_tensor("aten.bitwise_and.Tensor", infer_bitwise);
  add_scalar("aten.bitwise_and.Scalar", infer_bitwise);
  add_tensor("aten.bitwise_or.Tensor", infer_bitwise);
  add_scalar("aten.bitwise_or.Scalar", infer_bitwise);
  add_tensor("aten.bitwise_xor.Tensor", infer_bitwise);
  add_scalar("aten.bitwise_xor.Scalar", infer_bitwise);
  add_tensor("aten.logical_and", infer_logical);
  add_tensor("aten.logical_or", infer_logical);
  add_tensor("aten.logical_xor", infer_logical);

  table.add({.name = "aten.pow.Tensor_Scalar",
             .operands = {{"self"}},
             .attributes = {{"exponent", scalar}},
             .infer = infer_pow,
             .traits = {.elementwise = true}});
  table.add({.name = "aten.pow.Scalar",
             .operands = {{"exponent"}},
             .attributes = {{"self", scalar}},
             .infer = infer_pow,
             .traits = {.elementwise = true}});
  table.add({.name = "aten.pow.Tensor_Tensor",
             .operands = {{"self"}, {"exponent"}},
             .infer = infer_pow,
             .traits = {.elementwise = true}});
}

}  // namespace ostinato::ops
