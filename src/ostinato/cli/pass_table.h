#pragma once

#include <vector>

#include "ostinato/base/json.h"
#include "ostinato/passes/cost.h"
#include "ostinato/passes/pipeline.h"

namespace ostinato::cli {

/// A graph's cost before the passes, and after each of them.
class PassTable {
 public:
  PassTable(const passes::Ceilings& ceilings, ir::Bindings bindings)
      : ceilings_(ceilings), bindings_(std::move(bindings)) {}

  void before(const ir::Graph& graph) { before_ = cost(graph); }
  void after(const passes::PassReport& report, const ir::Graph& graph);

  /// The runs of passes, one object each.
  Json report() const;
  /// The same as a table with what each run changed, green where it is less and red where it is
  /// more if stdout is a terminal and the environment has no NO_COLOR (https://no-color.org).
  void print() const;

 private:
  struct Row {
    passes::PassReport pass;
    passes::Cost cost;
  };

  passes::Cost cost(const ir::Graph& graph) const;

  passes::Ceilings ceilings_;
  ir::Bindings bindings_;
  passes::Cost before_;
  std::vector<Row> rows_;
};

}  // namespace ostinato::cli
