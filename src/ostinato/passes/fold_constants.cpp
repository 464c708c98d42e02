#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "ostinato/base/error.h"
#include "ostinato/ir/text.h"
#include "ostinato/passes/match.h"
#include "ostinato/passes/pass.h"

namespace ostinato::passes {

namespace {

using ir::Node;
using ir::Value;
using ir::ValueKind;

/// A result up to this size may be kept whatever it is made of.
constexpr size_t kFreeBytes = size_t{1} << 20;

bool is_concrete(const ir::Shape& shape) {
  return std::all_of(shape.begin(), shape.end(),
                     [](const ir::Dim& dim) { return dim.is_constant(); });
}

bool is_concrete(const Node& node) {
  const auto concrete = [](const ir::Attribute& attribute) {
    if (const auto* dim = std::get_if<ir::Dim>(&attribute)) return dim->is_constant();
    const auto* dims = std::get_if<ir::Shape>(&attribute);
    return dims == nullptr || is_concrete(*dims);
  };
  return std::all_of(node.attributes.begin(), node.attributes.end(), concrete) &&
         std::all_of(node.results.begin(), node.results.end(),
                     [](const Value* result) { return is_concrete(result->shape()); });
}

class Folder {
 public:
  Folder(ir::Graph& graph, const PassContext& context) : graph_(graph), context_(context) {}

  bool run() {
    if (!context_.evaluate) return false;
    bool changed = false;
    const auto& nodes = graph_.nodes();
    for (auto it = nodes.begin(); it != nodes.end();) {
      Node* node = (it++)->get();
      if (!is_known(*node)) continue;
      if (node->op->traits.view) {
        // A view of a constant costs nothing; made a constant itself it would be a second copy.
        known_.insert(node->results.begin(), node->results.end());
      } else if (fold(node)) {
        changed = true;
      }
    }
    return changed;
  }

 private:
  bool is_known(const Value* value) const {
    if (value == nullptr || known_.contains(value)) return true;
    return value->kind == ValueKind::constant &&
           (value->data.defined() || (value->on_device != nullptr && context_.read));
  }

  bool is_known(const Node& node) const {
    const ir::OpTraits& traits = node.op->traits;
    return !traits.random && !traits.writes() && is_concrete(node) &&
           std::all_of(node.operands.begin(), node.operands.end(),
                       [this](const Value* operand) { return is_known(operand); });
  }

  bool fold(Node* node) {
    size_t bytes = 0;
    for (const Value* result : node->results) bytes += bytes_of(*result);
    if (bytes > kFreeBytes && bytes > bytes_freed(*node)) return false;
    const std::vector<Tensor> results = evaluate(*node);
    if (results.empty()) return false;
    for (size_t i = 0; i < node->results.size(); ++i) {
      Value* result = node->results[i];
      const auto& sizes = results[i].shape();
      const ir::ValueType got{results[i].dtype(), ir::Shape(sizes.begin(), sizes.end())};
      if (got != result->type) {
        fail(ErrorCode::internal, "passes/fold_constants", "Report this as a defect.",
             "{}: expected {}, the evaluator gave {}", to_string(*node), to_string(result->type),
             to_string(got));
      }
      if (!graph_.is_used(result)) continue;
      graph_.replace_all_uses(result, graph_.add_constant("", got, results[i]));
    }
    graph_.erase(node);
    return true;
  }

  /// The bytes of the constants that nothing but this node reads, through views or not: with the
  /// node they go.
  static size_t bytes_freed(const Node& node) {
    std::unordered_set<const Value*> counted;
    size_t bytes = 0;
    for (const Value* operand : node.operands) {
      const Value* value = operand;
      while (value != nullptr && value->kind == ValueKind::result && is_read_once(value)) {
        value = value->producer->operands[0];
      }
      const bool goes =
          value != nullptr && value->kind == ValueKind::constant && is_read_once(value);
      if (goes && counted.insert(value).second) bytes += bytes_of(*value);
    }
    return bytes;
  }

  std::vector<Tensor> evaluate(const Node& node) {
    std::vector<Tensor> operands;
    for (Value* operand : node.operands) {
      operands.push_back(operand == nullptr ? Tensor() : data_of(operand));
      if (operand != nullptr && !operands.back().defined()) return {};
    }
    return context_.evaluate(node, operands);
  }

  /// The elements of a constant or of a view of one; undefined when they cannot be had.
  Tensor data_of(Value* value) {
    if (value->kind == ValueKind::constant) {
      if (!value->data.defined()) value->data = context_.read(*value);
      return value->data;
    }
    const std::vector<Tensor> results = evaluate(*value->producer);
    return results.empty() ? Tensor() : results.at(static_cast<size_t>(value->index));
  }

  ir::Graph& graph_;
  const PassContext& context_;
  std::unordered_set<const Value*> known_;  // views of constants
};

}  // namespace

bool fold_constants(ir::Graph& graph, const PassContext& context) {
  return Folder(graph, context).run();
}

}  // namespace ostinato::passes
