#include "ostinato/runtime/program.h"

#include <chrono>

#include "ostinato/base/error.h"
#include "ostinato/passes/expand.h"
#include "ostinato/runtime/evaluate.h"

namespace ostinato {

namespace {

constexpr std::pair<Mode, std::string_view> kModes[] = {
    {Mode::reference, "reference"}, {Mode::eager, "eager"}, {Mode::graph, "graph"}};

}  // namespace

std::string_view name_of(Mode mode) { return kModes[static_cast<size_t>(mode)].second; }

Mode mode_of(std::string_view name) {
  for (const auto& [mode, text] : kModes) {
    if (text == name) return mode;
  }
  fail(ErrorCode::invalid_argument, "runtime/mode", "Use reference, eager or graph.",
       "there is no mode '{}'", name);
}

}  // namespace ostinato

namespace ostinato::runtime {

Program::Program(ir::Graph graph, device::Device& device, ProgramOptions options)
    : graph_(std::move(graph)),
      device_(device),
      options_(std::move(options)),
      symbols_(graph_.symbols()) {
  passes::check_names(options_.passes_off);  // in every mode: a misspelt one is never right
  const auto start = std::chrono::steady_clock::now();
  if (options_.mode == Mode::reference) passes::expand_fused(graph_);
  if (options_.mode == Mode::graph) {
    passes_ = passes::optimise(graph_, {options_.passes_off, constant_evaluator(), {}});
  }
  const auto elapsed = std::chrono::steady_clock::now() - start;
  passes_ms_ = std::chrono::duration<double, std::milli>(elapsed).count();
}

plan::Plan Program::plan(const ir::Bindings& bindings) const {
  plan::Plan result = plan::make_plan(
      graph_.specialise(bindings), device_, packed_,
      {options_.mode == Mode::reference ? device::Tier::reference : device::Tier::fast,
       options_.threads, options_.progress});
#ifndef NDEBUG
  plan::check_plan(result);
#endif
  return result;
}

}  // namespace ostinato::runtime
