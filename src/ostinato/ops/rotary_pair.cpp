#include "ostinato/ops/cache_update.h"
#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"
#include "ostinato/ops/rms_norm.h"
#include "ostinato/ops/rotary.h"

// What stands between the products for queries, keys and values and the attention.
namespace ostinato::ops {

namespace {

using ir::Node;
using ir::Value;
using ir::ValueType;

// query (B, H, S, D), key (B, Hkv, S, D), all floats of one dtype; the tables perhaps float32
void check_pair(const Node& node) {
  std::vector<Value*> floats, tables;
  for (const ir::OperandSpec& spec : node.op->operands) {
    const bool is_table = spec.name == "cos" || spec.name == "sin";
    if (spec.name != "position") (is_table ? tables : floats).push_back(node.operand(spec.name));
  }
  if (tables[0]->dtype() != DType::float32) floats.push_back(tables[0]);
  require_same_dtype(node, floats);
  require_same_dtype(node, tables);
  require_rank(node, node.operand("query"), 4);
  require_rank(node, node.operand("key"), 4);
  require_equal(node, "the last dim of 'key'", node.operand("query")->shape()[3],
                node.operand("key")->shape()[3]);
  for (const auto& [name, weight_name] :
       {std::pair{"query", "query_weight"}, std::pair{"key", "key_weight"}}) {
    const Value *x = node.operand(name), *weight = node.operand(weight_name);
    check_rotary(node, x, node.operand("cos"), node.operand("sin"));
    if (weight == nullptr) continue;
    if (!node.has("eps")) {
      reject(node, "Give the eps of the norm, or no weights.", "expected no '{}' without eps",
             weight_name);
    }
    require_rank(node, weight, 1);
    require_equal(node, fmt::format("the length of '{}'", weight_name), x->shape().back(),
                  weight->shape()[0]);
  }
}

Value* expand_one(ir::Builder& builder, const Node& node, std::string_view name,
                  std::string_view weight) {
  Value* x = node.operand(name);
  if (node.has("eps")) x = rms_norm(builder, x, node.operand(weight), node.real("eps"));
  return rotary(builder, x, node.operand("cos"), node.operand("sin"), node.flag("interleaved"),
                x->dtype());
}

std::vector<ValueType> infer_rotary_pair(const Node& node) {
  check_pair(node);
  return {node.operand("query")->type, node.operand("key")->type};
}

std::vector<Value*> expand_rotary_pair(ir::Builder& builder, const Node& node) {
  return {expand_one(builder, node, "query", "query_weight"),
          expand_one(builder, node, "key", "key_weight")};
}

std::vector<ValueType> infer_rotary_cache(const Node& node) {
  check_pair(node);
  Value *keys = node.operand("key_cache"), *values = node.operand("value_cache");
  check_cache_update(node, keys, node.operand("key"), node.operand("position"));
  check_cache_update(node, values, node.operand("value"), node.operand("position"));
  return {keys->type, values->type, node.operand("query")->type};
}

std::vector<Value*> expand_rotary_cache(ir::Builder& builder, const Node& node) {
  Value *query = expand_one(builder, node, "query", "query_weight"),
        *key = expand_one(builder, node, "key", "key_weight");
  Value* position = node.operand("position");
  return {builder("cache_update", {node.operand("key_cache"), key, position}),
          builder("cache_update", {node.operand("value_cache"), node.operand("value"), position}),
          query};
}

}  // namespace

void add_rotary_pair(ir::OpTable& table) {
  using enum ir::AttrKind;
  using enum ir::OperandKind;
  // The rotary embeddings of queries and keys; with an `eps`, of their RMSNorms over each head.
  const std::vector<ir::AttrSpec> attributes{{"eps", real, ir::Attribute{}},
                                             {"interleaved", boolean, false}};
  table.add({.name = "rotary_pair",
             .operands = {{"query"},
                          {"key"},
                          {"cos"},
                          {"sin"},
                          {"query_weight", optional},
                          {"key_weight", optional}},
             .attributes = attributes,
             .results = 2,
             .infer = infer_rotary_pair,
             .traits = {.in_place = {{0, 0}, {1, 1}}, .strided = true},
             .expand = expand_rotary_pair});
  // The same, where keys and values go to their caches from `position` on.
  table.add({.name = "rotary_cache",
             .operands = {{"query"},
                          {"key_cache"},
                          {"key"},
                          {"value_cache"},
                          {"value"},
                          {"position"},
                          {"cos"},
                          {"sin"},
                          {"query_weight", optional},
                          {"key_weight", optional}},
             .attributes = attributes,
             .results = 3,
             .infer = infer_rotary_cache,
             .traits = {.in_place = {{2, 0}}, .strided = true, .mutates = {1, 3}},
             .expand = expand_rotary_cache});
}

}  // namespace ostinato::ops
