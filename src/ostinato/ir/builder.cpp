#include "ostinato/ir/builder.h"

namespace ostinato::ir {

Node* Builder::call(std::string_view op, std::vector<Value*> operands,
                    const std::vector<NamedAttribute>& attributes) {
  Node* node = graph_.add_node(table_.at(op), std::move(operands), attributes, before_);
  node->source = source_;
  return node;
}

Value* Builder::constant(Tensor data, std::string name) {
  ValueType type{data.dtype(), Shape(data.shape().begin(), data.shape().end())};
  return graph_.add_constant(std::move(name), std::move(type), std::move(data));
}

}  // namespace ostinato::ir
