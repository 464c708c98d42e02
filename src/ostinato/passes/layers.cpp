#include "ostinato/passes/layers.h"

#include <algorithm>
#include <unordered_map>

namespace ostinato::passes {

namespace {

using ir::Node;
using ir::Value;

constexpr size_t kMostCompared = size_t{1} << 26;  // pairs of calls, in about a second

bool is_kept(const Value* value) {
  return value->kind == ir::ValueKind::constant || value->kind == ir::ValueKind::state;
}

bool is_matrix_of_weights(const Value* value) {
  return value->kind == ir::ValueKind::constant && value->rank() > 1 && !value->name.empty();
}

/// Whether two calls may stand at the same place of two layers, whatever values they read.
bool alike(const Node& a, const Node& b) {
  const auto same_operand = [](const Value* x, const Value* y) {
    if (x == nullptr || y == nullptr) return x == y;
    return x->type == y->type && is_kept(x) == is_kept(y);
  };
  const auto same_result = [](const Value* x, const Value* y) { return x->type == y->type; };
  const auto equal = [](const auto& x, const auto& y, const auto& same) {
    return std::equal(x.begin(), x.end(), y.begin(), y.end(), same);
  };
  return a.op == b.op && equal(a.attributes, b.attributes, ir::identical) &&
         equal(a.operands, b.operands, same_operand) && equal(a.results, b.results, same_result);
}

class Finder {
 public:
  explicit Finder(const ir::Graph& graph) {
    for (const auto& node : graph.nodes()) {
      const auto& operands = node->operands;
      const bool depends = std::any_of(operands.begin(), operands.end(), [&](const Value* operand) {
        return operand != nullptr && (is_matrix_of_weights(operand) || place_of(operand));
      });
      depends ? add(*node) : add_outside(*node);
    }
  }

  std::vector<Layers> run() {
    find(0, calls_.size());
    return std::move(found_);
  }

 private:
  struct Run {
    size_t first = 0, calls = 0, count = 0;  // calls: of a layer

    size_t size() const { return calls * count; }
  };

  void add(const Node& node) {
    const size_t place = calls_.size();
    calls_.push_back(&node);
    place_of_[&node] = place;
    std::vector<size_t>& kinds = kinds_of_[node.op];
    const auto kind = std::find_if(kinds.begin(), kinds.end(),
                                   [&](size_t at) { return alike(*calls_[at], node); });
    kinds_.push_back(kind != kinds.end() ? *kind : kinds.emplace_back(place));
  }

  /// Layers may each have such calls of their own, of equal values.
  void add_outside(const Node& node) {
    std::vector<const Node*>& known = outside_[node.op];
    const auto equal = std::find_if(known.begin(), known.end(), [&](const Node* other) {
      return alike(*other, node) &&
             std::equal(node.operands.begin(), node.operands.end(), other->operands.begin(),
                        [&](const Value* x, const Value* y) { return is_same(x, y); });
    });
    if (equal == known.end()) {
      known.push_back(&node);
      return;
    }
    for (size_t i = 0; i < node.results.size(); ++i)
      first_of_[node.results[i]] = (*equal)->results[i];
  }

  bool is_same(const Value* x, const Value* y) const {
    const auto first_of = [&](const Value* value) {
      const auto found = first_of_.find(value);
      return found != first_of_.end() ? found->second : value;
    };
    return first_of(x) == first_of(y);
  }

  /// Those of a part of the calls: the layers that most of them are of, and what stands beside.
  void find(size_t first, size_t last) {
    Run best;
    for (size_t calls = 1; calls <= (last - first) / 2 && compared_ < kMostCompared; ++calls) {
      compared_ += last - first;
      size_t begin = first;  // each call from here on is like the one that comes `calls` later
      for (size_t i = first; i + calls <= last; ++i) {
        if (i + calls < last && kinds_[i] == kinds_[i + calls]) continue;
        consider(begin, i + calls, calls, best);
        begin = i + 1;
      }
    }
    if (best.count == 0) return;
    find(first, best.first);
    const auto begin = calls_.begin() + static_cast<ptrdiff_t>(best.first);
    found_.push_back({{begin, begin + static_cast<ptrdiff_t>(best.calls)}, best.count});
    find(best.first + best.size(), last);
  }

  /// Layers of so many calls in a part of the calls, if there are more of them than of the best.
  void consider(size_t begin, size_t end, size_t calls, Run& best) {
    while (compared_ < kMostCompared) {
      const Run all{begin, calls, (end - begin) / calls};
      if (all.count < 2 || all.size() <= best.size()) return;
      const Run run{begin, calls, count_layers(all)};
      if (run.count > 1 && run.size() > best.size()) best = run;
      begin += run.count > 1 ? run.size() - calls : 1;
    }
  }

  /// How many parts of the run, from the first on, are layers.
  size_t count_layers(const Run& run) {
    for (size_t layer = 1; layer < run.count; ++layer) {
      bool own_weights = false;
      for (size_t i = 0; i < run.calls; ++i, ++compared_) {
        const size_t place = run.first + layer * run.calls + i;
        const auto &before = calls_[place - run.calls]->operands, &now = calls_[place]->operands;
        for (size_t k = 0; k < now.size(); ++k) {
          if (now[k] == nullptr) continue;
          if (!is_kept(now[k]) && !reads_alike(before[k], now[k], run)) return layer;
          own_weights |= now[k]->kind == ir::ValueKind::constant && now[k] != before[k];
        }
      }
      if (!own_weights) return layer;
    }
    return run.count;
  }

  /// Whether a call reads what its like reads in the layer before: the same from outside, or what
  /// stands at the same place.
  bool reads_alike(const Value* before, const Value* now, const Run& run) const {
    const auto place = place_of(now), other = place_of(before);
    if (!place || *place < run.first) return is_same(before, now);
    // What each layer leaves to the next one the first finds outside.
    if (!other || *other < run.first) return *place < run.first + run.calls;
    return *other + run.calls == *place && before->index == now->index;
  }

  std::optional<size_t> place_of(const Value* value) const {
    const auto found = place_of_.find(value->producer);
    return found != place_of_.end() ? std::optional(found->second) : std::nullopt;
  }

  std::vector<const Node*> calls_;  // that depend on weights
  std::unordered_map<const Node*, size_t> place_of_;
  std::vector<size_t> kinds_;  // by place: the first that is alike
  std::unordered_map<const ir::OpRow*, std::vector<size_t>> kinds_of_;
  std::unordered_map<const ir::OpRow*, std::vector<const Node*>> outside_;  // each value once
  std::unordered_map<const Value*, const Value*> first_of_;                 // of equal ones
  std::vector<Layers> found_;
  size_t compared_ = 0;
};

}  // namespace

std::vector<Layers> find_layers(const ir::Graph& graph) { return Finder(graph).run(); }

}  // namespace ostinato::passes
