#include "ostinato/runtime/program.h"

#include <chrono>

#include "ostinato/base/error.h"
#include "ostinato/passes/expand.h"
#include "ostinato/runtime/evaluate.h"
#include "ostinato/runtime/passes_for.h"

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

namespace {

/// Constants on the device of up to this size are read at once, since passes look for numbers among
/// them; larger ones where they are folded.
constexpr size_t kReadBytes = 512;

}  // namespace

Program::Program(ir::Graph graph, device::Device& device, ProgramOptions options)
    : graph_(std::move(graph)),
      device_(device),
      options_(std::move(options)),
      symbols_(graph_.symbols()),
      packed_(options_.packed_cache) {
  passes::check_names(options_.passes_off);  // in every mode: a misspelt one is never right
  for (ir::Value* constant : graph_.constants()) {
    const bool lies_there = constant->on_device != nullptr && !constant->data.defined();
    if (lies_there && bytes_of(*constant) <= kReadBytes) constant->data = read(*constant);
  }
  const auto start = std::chrono::steady_clock::now();
  if (options_.mode == Mode::reference) passes::expand_fused(graph_);
  if (options_.mode == Mode::graph) {
    if (options_.before_passes) options_.before_passes(graph_);
    passes_ = passes::optimise(graph_, pipeline_options(!options_.specialise));
    if (options_.after_passes) options_.after_passes(graph_);
  }
  const auto elapsed = std::chrono::steady_clock::now() - start;
  passes_ms_ = std::chrono::duration<double, std::milli>(elapsed).count();
}

Tensor Program::read(const ir::Value& constant) const {
  Tensor data = Tensor::empty(constant.dtype(), to_integers(constant.shape()));
  device_.copy_to_host(data.data(), constant.on_device.get(), data.bytes(), *options_.stream);
  device_.synchronise(*options_.stream);
  return data;
}

const void* Program::on_device(const ir::Value& value, device::Stream& stream) const {
  if (value.on_device != nullptr) return value.on_device.get();
  const Tensor& constant = value.data;
  if (device_.shares_host_memory()) return constant.data();
  const std::scoped_lock lock(mutex_);
  std::shared_ptr<void>& copy = copies_[{constant.data(), constant.bytes()}];
  if (copy == nullptr) {
    std::shared_ptr<void> memory = device_.allocate(constant.bytes());
    device_.copy_to_device(memory.get(), constant.data(), constant.bytes(), stream);
    device_.synchronise(stream);  // other contexts find it from now on, and have other streams
    copy = std::move(memory);
  }
  return copy.get();
}

passes::PipelineOptions Program::pipeline_options(bool last) const {
  // Calls with limits of their own stay calls of their own.
  const bool late = last && options_.thread_limits.empty();
  passes::PassContext context = constant_evaluator();
  context.read = [this](const ir::Value& constant) { return read(constant); };
  return {passes_off_for(device_, options_.passes_off), std::move(context), {}, late};
}

plan::Plan Program::plan(const ir::Bindings& bindings, int threads) const {
  plan::Options options;
  options.threads = threads;
  options.progress = options_.progress;
  if (options_.mode == Mode::reference) {
    options.tier = device::Tier::reference;
  } else {
    const bool is_graph = options_.mode == Mode::graph;
    options.in_place = is_graph && options_.in_place;
    options.cat_in_place = is_graph && options_.cat_in_place;
    options.reorder = is_graph;
    // Calls with limits side by side would together take more threads than they may.
    options.branches = is_graph && options_.branches && options_.thread_limits.empty();
    options.donations = options_.donations;
    options.thread_limits = options_.thread_limits;
  }
  plan::Plan result = plan::make_plan(specialised(bindings), device_, packed_, options);
  packed_.keep();
#ifndef NDEBUG
  plan::check_plan(result);
#endif
  return result;
}

ir::Graph Program::specialised(const ir::Bindings& bindings) const {
  if (!options_.specialise || options_.mode != Mode::graph) {
    ir::Graph graph = graph_.specialise(bindings);
    if (options_.mode == Mode::graph && !symbols_.empty()) {
      passes::optimise_bound(graph, pipeline_options(true));
    }
    return graph;
  }
  std::vector<int64_t> key;
  for (const std::string& symbol : symbols_) {
    key.push_back(ir::Dim::symbol(symbol).evaluate(bindings));
  }
  const std::scoped_lock lock(mutex_);
  const auto [entry, made] = specialised_.try_emplace(std::move(key));
  if (made) {
    entry->second = graph_.specialise(bindings);
    passes::optimise(entry->second, pipeline_options(true));
  }
  return entry->second.specialise({});
}

}  // namespace ostinato::runtime
