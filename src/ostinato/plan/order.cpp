#include "ostinato/plan/order.h"

#include <algorithm>
#include <unordered_map>

#include "ostinato/ir/aliases.h"
#include "ostinato/plan/memory.h"

namespace ostinato::plan {

namespace {

using ir::Node;
using ir::Value;

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

constexpr size_t kReach = 24;  // how many calls another may be put before

/// The calls in an order that changes, and how much memory is alive at each of them: that of
/// results which are neither views of others nor the caller's.
class Schedule {
 public:
  explicit Schedule(const ir::Graph& graph) : aliases_(ir::find_aliases(graph)) {
    order_.reserve(graph.nodes().size());
    calls_.reserve(graph.nodes().size());
    for (const auto& node : graph.nodes()) {
      Call& call = calls_[node.get()];
      call = {node.get(), order_.size(), {}};
      order_.push_back(&call);
      for (const Value* result : node->results) {
        if (base(result) == result) blocks_[result].bytes = aligned(bytes_of(*result));
      }
    }
    for (const ir::Output& output : graph.outputs()) blocks_.erase(base(output.value));
    for (Call* call : order_) {
      const Node& node = *call->node;
      std::vector<Block*>& touched = call->touched;
      touched.reserve(node.results.size() + node.operands.size());
      const auto touch = [&](const Value* value) {
        const auto found = value == nullptr ? blocks_.end() : blocks_.find(base(value));
        if (found == blocks_.end()) return;
        Block* block = &found->second;
        if (std::find(touched.begin(), touched.end(), block) != touched.end()) return;
        touched.push_back(block);
        block->calls.push_back(call);
      };
      std::for_each(node.results.begin(), node.results.end(), touch);
      std::for_each(node.operands.begin(), node.operands.end(), touch);
    }
    measure();
  }

  std::vector<const Node*> improved() {
    for (size_t i = 1; i < order_.size(); ++i) hoist(i);
    std::vector<const Node*> nodes;
    nodes.reserve(order_.size());
    for (const Call* call : order_) nodes.push_back(call->node);
    return nodes;
  }

 private:
  struct Block;
  struct Call {
    const Node* node = nullptr;
    size_t place = 0;  // in the order
    std::vector<Block*> touched;
  };
  struct Block {
    size_t bytes = 0;
    std::vector<const Call*> calls;  // that make or read it
    size_t first = 0, last = 0;      // places of those
  };

  const Value* base(const Value* value) const { return aliases_.at(value).base; }

  void measure() {
    std::vector<int64_t> change(order_.size() + 1, 0);
    for (auto& [value, block] : blocks_) {
      block.first = order_.size();
      block.last = 0;
      for (const Call* call : block.calls) {
        block.first = std::min(block.first, call->place);
        block.last = std::max(block.last, call->place);
      }
      change[block.first] += static_cast<int64_t>(block.bytes);
      change[block.last + 1] -= static_cast<int64_t>(block.bytes);
    }
    alive_.assign(order_.size(), 0);
    int64_t alive = 0;
    for (size_t i = 0; i < order_.size(); ++i) {
      alive += change[i];
      alive_[i] = alive;
    }
    peak_ = alive_.empty() ? 0 : *std::max_element(alive_.begin(), alive_.end());
  }

  bool is_fixed(const Node& node) const {
    if (node.op->traits.writes() || node.op->traits.random) return true;
    return std::any_of(node.operands.begin(), node.operands.end(), [this](const Value* operand) {
      return operand != nullptr && base(operand)->kind == ir::ValueKind::state;
    });
  }

  /// Whether more dies at the call than it makes.
  bool shrinks(size_t at) const {
    int64_t change = 0;
    for (const Block* block : order_[at]->touched) {
      const auto bytes = static_cast<int64_t>(block->bytes);
      if (block->first == at) change += bytes;
      if (block->last == at) change -= bytes;
    }
    return change < 0;
  }

  /// Puts the call earlier where the most that is alive from there to here becomes less.
  void hoist(size_t at) {
    const Node& node = *order_[at]->node;
    if (is_fixed(node) || !shrinks(at)) return;
    size_t lowest = at > kReach ? at - kReach : 0;
    for (const Value* operand : node.operands) {
      if (operand == nullptr || operand->kind != ir::ValueKind::result) continue;
      lowest = std::max(lowest, calls_.at(operand->producer).place + 1);
    }
    int64_t before = alive_[at], best_saving = 0;
    size_t best = at;
    for (size_t to = at; to-- > lowest;) {
      before = std::max(before, alive_[to]);
      if (before < peak_ / 2) continue;  // nothing that matters
      const int64_t saving = before - peak_after(at, to);
      if (saving > best_saving) best_saving = saving, best = to;
    }
    if (best == at) return;
    const auto begin = order_.begin() + static_cast<std::ptrdiff_t>(best);
    const auto end = order_.begin() + static_cast<std::ptrdiff_t>(at);
    std::rotate(begin, end, end + 1);
    for (size_t i = best; i <= at; ++i) order_[i]->place = i;
    measure();
  }

  /// The most that is alive from `to` to `at` once the call at the latter runs at the former.
  int64_t peak_after(size_t at, size_t to) const {
    std::unordered_map<const Block*, size_t> last;  // of those that die in between: where
    const auto call = [&](size_t i) { return order_[i == to ? at : i - 1]; };
    for (size_t i = to; i <= at; ++i) {
      for (const Block* block : call(i)->touched) {
        if (block->last <= at) last[block] = i;
      }
    }
    int64_t alive = alive_[to], most = 0;
    for (const Block* block : order_[to]->touched) {
      if (block->first == to) alive -= static_cast<int64_t>(block->bytes);
    }
    std::vector<const Block*> made;
    for (size_t i = to; i <= at; ++i) {
      for (const Block* block : call(i)->touched) {
        const bool is_new = block->first >= to && block->first <= at &&
                            std::find(made.begin(), made.end(), block) == made.end();
        if (is_new) {
          made.push_back(block);
          alive += static_cast<int64_t>(block->bytes);
        }
      }
      most = std::max(most, alive);
      for (const Block* block : call(i)->touched) {
        const auto death = last.find(block);
        if (death != last.end() && death->second == i) alive -= static_cast<int64_t>(block->bytes);
      }
    }
    return most;
  }

  std::unordered_map<const Value*, ir::Alias> aliases_;
  std::unordered_map<const Node*, Call> calls_;
  std::vector<Call*> order_;
  std::unordered_map<const Value*, Block> blocks_;
  std::vector<int64_t> alive_;  // by place
  int64_t peak_ = 0;
};

}  // namespace

std::vector<const Node*> order_for_memory(const ir::Graph& graph) {
  return Schedule(graph).improved();
}

}  // namespace ostinato::plan
