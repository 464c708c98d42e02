#include "ostinato/cli/pass_table.h"

#include <unistd.h>

#include <cstdlib>

#include "ostinato/cli/output.h"
#include "ostinato/passes/pass.h"

namespace ostinato::cli {

namespace {

using passes::Cost;

/// What a column shows of a cost.
struct Column {
  std::string_view title;
  int decimals;
  double (*value)(const Cost& cost);
};

constexpr Column kColumns[] = {
    {"nodes", 0, [](const Cost& cost) { return static_cast<double>(cost.nodes); }},
    {"kernels", 0, [](const Cost& cost) { return static_cast<double>(cost.kernels); }},
    {"GFLOP", 3, [](const Cost& cost) { return cost.flops / 1e9; }},
    {"MB", 2, [](const Cost& cost) { return cost.bytes / 1e6; }},
    {"predicted ms", 3, [](const Cost& cost) { return cost.seconds * 1e3; }},
};

bool is_coloured() {
  const char* no_color = std::getenv("NO_COLOR");
  return ::isatty(STDOUT_FILENO) == 1 && (no_color == nullptr || *no_color == '\0');
}

/// The value, and how far it is from the one in the row before where it is another; 22 columns.
std::string cell(const Column& column, const Cost& cost, const Cost& previous, bool coloured) {
  const double now = column.value(cost), change = now - column.value(previous);
  const std::string value = fmt::format("{:>11.{}f}", now, column.decimals);
  std::string difference = fmt::format("{:+.{}f}", change, column.decimals);
  if (change == 0 || difference.find_first_of("123456789") == std::string::npos) difference = "";
  const std::string padded = fmt::format(" {:<10}", difference);
  if (!coloured || difference.empty()) return value + padded;
  return fmt::format("{}\033[{}m{}\033[0m", value, change < 0 ? 32 : 31, padded);
}

}  // namespace

Cost PassTable::cost(const ir::Graph& graph) const {
  ir::Graph concrete = graph.specialise(bindings_);
  passes::eliminate_dead(concrete, {});  // what a pass leaves for that pass is its own saving
  return passes::cost_of(concrete, ceilings_);
}

void PassTable::after(const passes::PassReport& report, const ir::Graph& graph) {
  const Cost& previous = rows_.empty() ? before_ : rows_.back().cost;
  rows_.push_back({report, report.changed ? cost(graph) : previous});
}

Json PassTable::report() const {
  Json table = Json::array();
  const Cost* previous = &before_;
  for (const auto& [pass, cost] : rows_) {
    table.push_back({{"name", pass.name},
                     {"round", pass.round},
                     {"changed", pass.changed},
                     {"nodes_before", pass.nodes_before},
                     {"nodes_after", pass.nodes_after},
                     {"kernels_before", previous->kernels},
                     {"kernels_after", cost.kernels},
                     {"flops_before", previous->flops},
                     {"flops_after", cost.flops},
                     {"bytes_before", previous->bytes},
                     {"bytes_after", cost.bytes},
                     {"predicted_ms_before", previous->seconds * 1e3},
                     {"predicted_ms_after", cost.seconds * 1e3},
                     {"microseconds", pass.microseconds}});
    previous = &cost;
  }
  return table;
}

void PassTable::print() const {
  const bool coloured = is_coloured();
  output("{:<20}", "pass");
  for (const Column& column : kColumns) output("{:>11}{:11}", column.title, "");
  output("{:>8}\n", "took µs");
  const auto print_row = [&](std::string_view name, const Cost& cost, const Cost& previous) {
    output("{:<20}", name);
    for (const Column& column : kColumns) output("{}", cell(column, cost, previous, coloured));
  };
  print_row("", before_, before_);
  output("\n");
  const Cost* previous = &before_;
  for (const auto& [pass, cost] : rows_) {
    print_row(pass.name, cost, *previous);
    output("{:>8}\n", pass.microseconds);
    previous = &cost;
  }
  output("Predicted: the longer of FLOPs at {:g} GFLOP/s and bytes at {:g} GB/s, call by call.\n",
         ceilings_.flops_per_second / 1e9, ceilings_.bytes_per_second / 1e9);
}

}  // namespace ostinato::cli
