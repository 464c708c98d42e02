#include <algorithm>
#include <cmath>

#include "ostinato/ir/builder.h"
#include "ostinato/passes/index_function.h"
#include "ostinato/passes/match.h"
#include "ostinato/passes/pass.h"
#include "ostinato/passes/rewrite.h"

// Attention whose mask is computed from positions becomes causal attention, perhaps in a window,
// that reads no mask; key heads that were repeated for groups of query heads are read once.
namespace ostinato::passes {

namespace {

using ir::Dim;
using ir::Node;
using ir::Shape;
using ir::Value;

constexpr double kForbidden = -60000;  // of scores, the least that float16 tells from others

/// What a mask comes down to.
struct Band {
  bool causal = false;
  int64_t offset = 0;             // query i attends keys up to i + offset
  std::optional<int64_t> window;  // and of those the last
};

/// Of i, j with the steps `i` and `j` and no others.
bool steps_are(const Affine& f, int64_t i, int64_t j) {
  const size_t rank = f.steps.size();
  for (size_t d = 0; d + 2 < rank; ++d) {
    if (!f.steps[d].is(0)) return false;
  }
  return rank >= 2 && f.steps[rank - 2].is(i) && f.steps[rank - 1].is(j);
}

std::optional<Band> band_of(const Conditions& conditions) {
  Band band;
  std::optional<int64_t> least;  // j >= i - least
  for (const Affine& f : conditions) {
    if (!f.constant.is_constant()) return std::nullopt;
    const int64_t constant = f.constant.value();
    if (steps_are(f, 1, -1)) {  // i - j + constant >= 0
      band.offset = band.causal ? std::min(band.offset, constant) : constant;
      band.causal = true;
    } else if (steps_are(f, -1, 1)) {
      least = least ? std::min(*least, constant) : constant;
    } else {
      return std::nullopt;
    }
  }
  if (band.causal && band.offset < 0) return std::nullopt;  // rows that may attend nothing
  if (least) {
    band.window = band.offset + *least + 1;
    if (!band.causal || *band.window < 1) return std::nullopt;
  }
  return band;
}

/// Where a mask lets attend: of a bool mask, or of zeros and very negative numbers.
std::optional<Conditions> allowed_by(const Value* mask, const IndexFunctions& functions) {
  if (mask->dtype() == DType::boolean) return functions.conditions(mask);
  const Node* choice = call_of(mask, {"aten.where.self"});
  if (choice == nullptr || choice->results[0]->rank() != choice->operands[0]->rank()) {
    return std::nullopt;
  }
  const std::optional<double> zero = number(choice->operand("self"));
  const std::optional<double> forbidden = number(choice->operand("other"));
  if (zero != 0.0 || !forbidden || *forbidden > kForbidden) return std::nullopt;
  return functions.conditions(choice->operand("condition"));
}

/// (B, Hkv, S, D) of heads that were repeated: unsqueezed at 2, expanded, and joined again.
Value* without_repetition(Value* heads) {
  const Node* joined = reshape_of(heads);
  if (joined == nullptr) return heads;
  Value* inner = joined->operands[0];
  if (const Node* copy = call_of(inner, {"aten.clone"})) inner = copy->operands[0];
  const Node* expanded = call_of(inner, {"aten.expand"});
  if (expanded == nullptr) return heads;
  const Value* narrow = expanded->operands[0];
  const Shape &from = narrow->shape(), &to = inner->shape(), &result = heads->shape();
  if (from.size() != 5 || to.size() != 5 || result.size() != 4 || !from[2].is(1)) return heads;
  const bool others = from[0] == to[0] && from[1] == to[1] && from[3] == to[3] && from[4] == to[4];
  const bool join =
      result[0] == to[0] && result[1] == to[1] * to[2] && result[2] == to[3] && result[3] == to[4];
  const Node* raised = call_of(narrow, {"aten.unsqueeze", "aten.view", "aten.reshape"});
  if (!others || !join || raised == nullptr) return heads;
  Value* source = raised->operands[0];
  const Shape expected{from[0], from[1], from[3], from[4]};
  return source->shape() == expected ? source : heads;
}

class Fuser {
 public:
  explicit Fuser(ir::Graph& graph) : graph_(graph) {}

  bool run() {
    bool changed = false;
    const auto& nodes = graph_.nodes();
    for (auto it = nodes.begin(); it != nodes.end();) {
      Node* node = (it++)->get();
      if (takes(*node) && fuse(node)) changed = true;
    }
    return changed;
  }

 private:
  static bool takes(const Node& node) {
    if (node.op->name == "attention") {
      return !node.flag("causal") && node.operand("position") == nullptr;
    }
    return node.op->name == "aten.scaled_dot_product_attention" && node.operands[0]->rank() == 4;
  }

  bool fuse(Node* node) {
    const bool plain = node->op->name == "aten.scaled_dot_product_attention";
    Value *query = node->operands[0], *key = node->operands[1], *value = node->operands[2];
    Value* mask = node->operands[3];
    Value *narrow_key = without_repetition(key), *narrow_value = without_repetition(value);
    if (narrow_key->shape()[1] == narrow_value->shape()[1]) {
      key = narrow_key;
      value = narrow_value;
    }
    const bool causal = plain && node->flag("is_causal");
    Band band{.causal = causal, .offset = 0, .window = std::nullopt};
    if (mask != nullptr) {
      if (!functions_) functions_.emplace(graph_);
      const std::optional<Conditions> allowed = allowed_by(mask, *functions_);
      const std::optional<Band> found = allowed ? band_of(*allowed) : std::nullopt;
      if (found) {
        band = *found;
        mask = nullptr;
      }
    }
    if (!plain && mask == node->operands[3] && key == node->operands[1]) return false;
    ir::Builder builder = builder_before(graph_, node);
    std::vector<ir::NamedAttribute> attributes{
        {"scale", node->attribute("scale")}, {"causal", band.causal}, {"offset", band.offset}};
    if (band.window) attributes.emplace_back("window", *band.window);
    if (!plain) attributes.emplace_back("softcap", node->attribute("softcap"));
    Value* sinks = plain ? nullptr : node->operand("sinks");
    replace(graph_, node,
            builder("attention", {query, key, value, mask, nullptr, sinks}, attributes));
    return true;
  }

  ir::Graph& graph_;
  std::optional<IndexFunctions> functions_;  // of the graph as it was; results keep their meaning
};

}  // namespace

bool fuse_attention(ir::Graph& graph, const PassContext&) { return Fuser(graph).run(); }

}  // namespace ostinato::passes
