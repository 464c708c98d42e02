#include "ostinato/ops/cache_update.h"

#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

namespace {

using ir::Node;
using ir::Value;

std::vector<ir::ValueType> infer_cache_update(const Node& node) {
  Value* cache = node.operand("cache");
  check_cache_update(node, cache, node.operand("value"), node.operand("position"));
  return {cache->type};
}

}  // namespace

void check_cache_update(const Node& node, Value* cache, Value* value, const Value* position) {
  Value* const tensors[] = {cache, value};
  require_same_dtype(node, tensors);
  require_rank(node, cache, 4);
  require_rank(node, value, 4);
  require_rank(node, position, 0);
  require_index(node, position);
  for (const size_t dim : {size_t{0}, size_t{1}, size_t{3}}) {
    require_equal(node, fmt::format("dim {} of 'value'", dim), cache->shape()[dim],
                  value->shape()[dim]);
  }
  const ir::Dim room = cache->shape()[2] - value->shape()[2];
  if (room.is_constant() && room.value() < 0) {
    reject(node, "Make the cache longer.", "expected at most {} new rows, got {}",
           cache->shape()[2].str(), value->shape()[2].str());
  }
}

void add_cache_update(ir::OpTable& table) {
  // Writes `value` to the cache's rows from `position` on.
  table.add({.name = "cache_update",
             .operands = {{"cache"}, {"value"}, {"position"}},
             .infer = infer_cache_update,
             .traits = {.mutates = {0}}});
}

}  // namespace ostinato::ops
