#include "ostinato/passes/history.h"

#include <algorithm>
#include <unordered_set>

namespace ostinato::passes {

namespace {

using ir::Graph;
using ir::Node;
using ir::Value;
using Calls = std::unordered_map<int, const Node*>;  // by the ids of their results

Calls calls_of(const Graph& graph) {
  Calls calls;
  for (const auto& node : graph.nodes()) {
    for (const Value* result : node->results) calls[result->id] = node.get();
  }
  return calls;
}

/// The ids of what outputs and states depend on: dead calls wait for a pass of their own.
std::unordered_set<int> alive_in(const Graph& graph) {
  std::unordered_set<const Value*> needed;
  for (const ir::Output& output : graph.outputs()) needed.insert(output.value);
  std::unordered_set<int> alive;
  for (auto it = graph.nodes().rbegin(); it != graph.nodes().rend(); ++it) {
    const Node& node = **it;
    const bool is_needed =
        node.op->traits.writes() ||
        std::any_of(node.results.begin(), node.results.end(),
                    [&](const Value* result) { return needed.count(result) > 0; });
    if (!is_needed) continue;
    needed.insert(node.operands.begin(), node.operands.end());
    for (const Value* result : node.results) alive.insert(result->id);
  }
  return alive;
}

/// What of the graph before the pass each value of a new call stands for: passes keep values, so
/// that it is what its reader read there. Nothing for one that only new calls read.
std::unordered_map<int, const Value*> stand_ins(const Graph& before, const Calls& old,
                                                const Graph& after) {
  std::unordered_map<int, const Value*> found;
  const auto match = [&](const Value* now, const Value* then) {
    const bool is_new = now != nullptr && now->producer != nullptr && old.count(now->id) == 0;
    if (is_new && then != nullptr) found.emplace(now->id, then);
  };
  for (const auto& node : after.nodes()) {
    const auto reader = old.find(node->results[0]->id);
    if (reader == old.end()) continue;
    const std::vector<Value*>& then = reader->second->operands;
    for (size_t i = 0; i < std::min(then.size(), node->operands.size()); ++i) {
      match(node->operands[i], then[i]);
    }
  }
  for (size_t i = 0; i < after.outputs().size(); ++i) {
    match(after.outputs()[i].value, before.outputs()[i].value);
  }
  return found;
}

/// The value's call and those it depends on, up to what is alive still.
void collect(const Value* value, const std::unordered_set<int>& alive,
             std::unordered_set<const Node*>& calls) {
  std::vector<const Value*> left = {value};
  while (!left.empty()) {
    const Value* next = left.back();
    left.pop_back();
    if (next == nullptr || next->producer == nullptr || alive.count(next->id) > 0) continue;
    if (!calls.insert(next->producer).second) continue;
    left.insert(left.end(), next->producer->operands.begin(), next->producer->operands.end());
  }
}

}  // namespace

void History::watch(const ir::Graph& graph) {
  graphs_.clear();
  graphs_.push_back(graph.specialise({}));
}

void History::record(const PassReport& report, const ir::Graph& graph) {
  if (!report.changed) return;
  const Graph& before = graphs_.back();
  const Calls old = calls_of(before);
  const std::unordered_set<int> alive = alive_in(graph);
  const auto stands_for = stand_ins(before, old, graph);
  for (const auto& node : graph.nodes()) {
    if (old.count(node->results[0]->id) > 0) continue;
    std::unordered_set<const Node*> gone;
    for (const Value* result : node->results) {
      const auto found = stands_for.find(result->id);
      if (found != stands_for.end()) collect(found->second, alive, gone);
    }
    Origin& origin = origins_[node->results[0]->id];
    origin = {report.name, report.round, {}};
    for (const auto& call : before.nodes()) {
      if (gone.count(call.get()) > 0) origin.calls.push_back(call.get());
    }
  }
  graphs_.push_back(graph.specialise({}));
}

const Origin* History::origin(int id) const {
  const auto found = origins_.find(id);
  return found == origins_.end() ? nullptr : &found->second;
}

}  // namespace ostinato::passes
