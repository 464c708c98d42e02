#include "ostinato/ops/fused_elementwise.h"

#include <algorithm>
#include <unordered_map>

#include "ostinato/ir/builder.h"
#include "ostinato/ir/text.h"
#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"
#include "ostinato/ops/reduce.h"

namespace ostinato::ops {

namespace {

using ir::Graph;
using ir::Node;
using ir::Value;

bool is_constant(const ir::Attribute& attribute) {
  if (const auto* dim = std::get_if<ir::Dim>(&attribute)) return dim->is_constant();
  const auto* dims = std::get_if<ir::Shape>(&attribute);
  return dims == nullptr || std::all_of(dims->begin(), dims->end(),
                                        [](const ir::Dim& dim) { return dim.is_constant(); });
}

// A program is text, and the symbols in it nobody would replace by sizes.
bool is_closed(const Node& node) {
  return std::all_of(node.attributes.begin(), node.attributes.end(), is_constant) &&
         std::find(node.operands.begin(), node.operands.end(), nullptr) == node.operands.end();
}

Graph parsed(const Node& node) {
  std::vector<ir::ValueType> types;
  for (const Value* operand : node.operands) {
    if (operand == nullptr) reject(node, "Leave it out.", "expected tensors, got None");
    types.push_back(operand->type);
  }
  try {
    return ir::parse_program(node.string("program"), types, table());
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) throw;
    reject(node, error.hint(), "expected a program of calls, got {}", error.message());
  }
}

std::vector<ir::ValueType> infer_program(const Node& node) {
  return {program_of(node).outputs()[0].value->type};
}

std::vector<Value*> expand_program(ir::Builder& builder, const Node& node) {
  const Graph program = program_of(node);
  std::unordered_map<const Value*, Value*> values;
  for (size_t i = 0; i < node.operands.size(); ++i) {
    values[program.inputs()[i]] = node.operands[i];
  }
  for (const auto& call : program.nodes()) {
    std::vector<Value*> operands;
    for (const Value* operand : call->operands) operands.push_back(values.at(operand));
    std::vector<ir::NamedAttribute> attributes;
    for (size_t i = 0; i < call->attributes.size(); ++i) {
      attributes.emplace_back(call->op->attributes[i].name, call->attributes[i]);
    }
    values[call->results[0]] = builder(call->op->name, std::move(operands), attributes);
  }
  return {values.at(program.outputs()[0].value)};
}

}  // namespace

bool is_fusible(const Node& node) {
  const ir::OpTraits& traits = node.op->traits;
  return traits.elementwise && !traits.random && node.results.size() == 1 &&
         node.op->expand == nullptr && is_closed(node);
}

bool is_fusible_reduction(const Node& node) {
  const std::string_view name = node.op->name;
  if (name != "aten.sum.dim_IntList" && name != "aten.mean.dim" && name != "aten.amax" &&
      name != "aten.amin") {
    return false;
  }
  if (!is_closed(node)) return false;
  const std::vector<bool> reduced = reduced_dims(node);
  return !reduced.empty() && reduced.back() && std::is_sorted(reduced.begin(), reduced.end());
}

Graph program_of(const Node& node) {
  Graph program = parsed(node);
  const bool reduces = node.op->name == "fused_reduction";
  for (const auto& call : program.nodes()) {
    const bool last = call == program.nodes().back();
    if (reduces && last ? is_fusible_reduction(*call) : is_fusible(*call)) continue;
    reject(node, "Write it as a call of its own.", "expected {}, got {}",
           reduces && last ? "a reduction over the last dims" : "an elementwise call",
           call->op->name);
  }
  return program;
}

void add_fused_elementwise(ir::OpTable& table) {
  const auto add = [&table](std::string_view name, ir::OpTraits traits) {
    table.add({.name = name,
               .operands = {{"tensors", ir::OperandKind::list}},
               .attributes = {{"program", ir::AttrKind::string}},
               .infer = infer_program,
               .traits = std::move(traits),
               .expand = expand_program});
  };
  add("fused_elementwise", {.elementwise = true});
  add("fused_reduction", {});
}

}  // namespace ostinato::ops
