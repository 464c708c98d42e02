#include "ostinato/runtime/context.h"

#include <algorithm>
#include <chrono>
#include <functional>

#include "ostinato/base/error.h"
#include "ostinato/base/memory.h"
#include "ostinato/ir/text.h"

namespace ostinato::runtime {

using device::Address;
using plan::Place;

namespace {

// What a graph's sizes were simplified by, so that other bindings would give wrong results.
void require_sizes(const ir::Bindings& bindings) {
  for (const auto& [name, value] : bindings) {
    if (value >= ir::Dim::symbol(name).lower_bound().value_or(value)) continue;
    fail(ErrorCode::invalid_argument, "runtime/context",
         "Give no empty dims where sizes are symbolic.",
         "expected a size of at least 1 for {}, got {}", name, value);
  }
}

}  // namespace

void Executable::operator()(const device::Bindings& bindings) {
  if (capture_ == nullptr) return run_step_by_step(bindings);
  if (staging_ == nullptr) return capture_->replay(bindings);
  capture_->replay(staging_->bring(bindings));
  staging_->take_back(bindings);
}

void Executable::bring(const device::Bindings& bindings) {
  brought_ = staging_ == nullptr ? bindings : staging_->bring(bindings);
}

void Executable::advance(const device::Feedback& feedback) {
  capture_->advance(brought_, feedback);
}

void Executable::run_step_by_step(const device::Bindings& bindings) {
  if (staging_ == nullptr) {
    launch_steps(bindings);
    device_->synchronise(*stream_);
  } else {
    launch_steps(staging_->bring(bindings));
    staging_->take_back(bindings);
  }
}

void Executable::launch_steps(const device::Bindings& bindings) {
  // As a framework without graph mode does: every result gets memory when it is made and gives it
  // back after its last use.
  std::vector<std::shared_ptr<void>> memory(plan_.buffers.size());
  for (size_t i = 0; i < steps_.size(); ++i) {
    device::Step step = steps_[i];
    const plan::Step& planned = plan_.steps[i];
    const auto resolve = [&](const Place& place, Address& address) {
      if (place.kind != Place::Kind::arena) return;
      auto& buffer = memory[place.index];
      if (buffer == nullptr) {
        buffer = device_->allocate_for(plan_.buffers[place.index].bytes, *stream_);
      }
      address = {Address::Kind::fixed, static_cast<char*>(buffer.get()) + place.offset, 0, 0};
    };
    for (size_t k = 0; k < step.inputs.size(); ++k) resolve(planned.inputs[k], step.inputs[k]);
    for (size_t k = 0; k < step.outputs.size(); ++k) resolve(planned.outputs[k], step.outputs[k]);
    resolve(planned.scratch, step.scratch);
    device_->launch(step, bindings, *stream_);
    const auto release = [&](const Place& place) {
      if (place.kind == Place::Kind::arena && plan_.buffers[place.index].last == i) {
        memory[place.index].reset();
      }
    };
    std::for_each(planned.inputs.begin(), planned.inputs.end(), release);
    std::for_each(planned.outputs.begin(), planned.outputs.end(), release);
    release(planned.scratch);
  }
}

Context::Context(std::shared_ptr<const Program> program, ContextOptions options)
    : program_(std::move(program)),
      options_(std::move(options)),
      stream_(options_.stream != nullptr
                  ? options_.stream
                  : program_->device().make_stream(program_->options().threads)) {
  if (options_.arena == nullptr) options_.arena = std::make_shared<Arena>();
  if (options_.capture_limit < 1) {
    fail(ErrorCode::invalid_argument, "runtime/context", "Set capture_limit to 1 or more.",
         "expected a capture limit of at least 1, got {}", options_.capture_limit);
  }
}

Executable& Context::prepare(const ir::Bindings& bindings) {
  std::vector<int64_t> key;
  key.reserve(program_->symbols().size());
  for (const std::string& symbol : program_->symbols()) {
    key.push_back(ir::Dim::symbol(symbol).evaluate(bindings));
  }
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.key == key; });
  if (found != entries_.end()) {
    entries_.splice(entries_.begin(), entries_, found);
    return entries_.front().executable;
  }
  require_sizes(bindings);
  entries_.push_front({std::move(key), make(bindings)});
  ++counters_.captures;
  if (entries_.size() > options_.capture_limit) {
    entries_.pop_back();
    ++counters_.evictions;
  }
  return entries_.front().executable;
}

Executable Context::make(const ir::Bindings& bindings) {
  using Clock = std::chrono::steady_clock;
  const auto milliseconds = [](Clock::duration time) {
    return std::chrono::duration<double, std::milli>(time).count();
  };
  Executable result;
  const auto start = Clock::now();
  const double packed_before = program_->packed().milliseconds();
  result.plan_ = program_->plan(bindings, stream_->threads());
  result.phases_.pack_ms = program_->packed().milliseconds() - packed_before;
  result.phases_.plan_ms = milliseconds(Clock::now() - start) - result.phases_.pack_ms;
  const auto planned_at = Clock::now();
  result.device_ = &program_->device();
  result.stream_ = stream_.get();
  for (const ir::Output& output : result.plan_.graph.outputs()) {
    result.outputs_.push_back(output.value->type);
  }
  make_states(result.plan_.graph);
  const bool captured = program_->options().mode == Mode::graph;
  if (captured) {
    Arena own;
    Arena& arena = options_.share_arena ? *options_.arena : own;
    result.arena_ = arena.take(program_->device(), result.plan_.arena_bytes);
  }
  std::vector<device::Step> steps;
  steps.reserve(result.plan_.steps.size());
  const auto locate = [&](const Place& place) {
    return address(result.plan_, place, result.arena_.get());
  };
  for (const plan::Step& planned : result.plan_.steps) {
    device::Step step;
    step.kernel = planned.kernel;
    step.inputs.reserve(planned.inputs.size());
    step.outputs.reserve(planned.outputs.size());
    std::transform(planned.inputs.begin(), planned.inputs.end(), std::back_inserter(step.inputs),
                   locate);
    std::transform(planned.outputs.begin(), planned.outputs.end(), std::back_inserter(step.outputs),
                   locate);
    step.scratch = locate(planned.scratch);
    step.branch = planned.branch;
    steps.push_back(std::move(step));
  }
  if (!program_->device().shares_host_memory() && !options_.on_device) {
    result.staging_ =
        std::make_unique<Staging>(program_->device(), *stream_, result.plan_, staging_);
  }
  if (captured) {
    result.capture_ = program_->device().capture(std::move(steps), *stream_);
  } else {
    result.steps_ = std::move(steps);
  }
  result.phases_.capture_ms = milliseconds(Clock::now() - planned_at);
  return result;
}

Address Context::address(const plan::Plan& plan, const Place& place, void* arena) const {
  const auto fixed = [](const void* base, size_t offset) {
    auto* bytes = const_cast<char*>(static_cast<const char*>(base));
    return Address{Address::Kind::fixed, bytes == nullptr ? nullptr : bytes + offset, 0, 0};
  };
  switch (place.kind) {
    case Place::Kind::none: return {};
    case Place::Kind::input: return {Address::Kind::input, nullptr, place.index, place.offset};
    case Place::Kind::output: return {Address::Kind::output, nullptr, place.index, place.offset};
    case Place::Kind::constant:
      return fixed(program_->on_device(*place.constant, *stream_), place.offset);
    case Place::Kind::state: return fixed(states_[place.index].memory.get(), place.offset);
    case Place::Kind::arena: return fixed(arena, plan.buffers[place.index].offset + place.offset);
  }
  __builtin_unreachable();
}

void Context::make_states(const ir::Graph& graph) {
  size_t needed = 0;
  for (size_t i = states_.size(); i < graph.states().size(); ++i) {
    needed += bytes_of(*graph.states()[i]);
  }
  if (needed > 0) {
    require_memory(needed, "the model's state", "Ask for a shorter sequence: fewer new tokens.");
  }
  for (size_t i = 0; i < graph.states().size(); ++i) {
    const ir::Value* value = graph.states()[i];
    std::vector<int64_t> sizes = to_integers(value->shape());
    if (i < states_.size()) {
      if (states_[i].sizes == sizes) continue;
      fail(ErrorCode::invalid_argument, "runtime/context", "Use another context for other sizes.",
           "expected shape ({}) for the state '{}', got ({})", fmt::join(states_[i].sizes, ", "),
           value->name, fmt::join(sizes, ", "));
    }
    State state{std::move(sizes), 0, nullptr};
    state.bytes = bytes_of(*value);
    state.memory = program_->device().allocate(state.bytes);
    program_->device().clear(state.memory.get(), state.bytes, *stream_);
    states_.push_back(std::move(state));
  }
}

void Context::reset_states() {
  for (const State& state : states_) {
    program_->device().clear(state.memory.get(), state.bytes, *stream_);
  }
}

namespace {

/// Runs on checked tensors.
void execute(Executable& executable, std::span<const Tensor> inputs, std::span<Tensor> outputs) {
  std::vector<void*> input_pointers, output_pointers;
  for (const Tensor& input : inputs) input_pointers.push_back(const_cast<void*>(input.data()));
  for (Tensor& output : outputs) output_pointers.push_back(output.data());
  executable({input_pointers, output_pointers});
}

bool overlap(const Tensor& a, const Tensor& b) {
  const auto* a_begin = static_cast<const char*>(a.data());
  const auto* b_begin = static_cast<const char*>(b.data());
  const std::less<> before;
  return before(a_begin, b_begin + b.bytes()) && before(b_begin, a_begin + a.bytes());
}

void check_output(const ir::Output& output, const ir::ValueType& expected, const Tensor& got) {
  const std::vector<int64_t> shape = to_integers(expected.shape);
  if (got.defined() && got.dtype() == expected.dtype && got.shape() == shape) return;
  fail(ErrorCode::invalid_argument, "runtime/context",
       "Give memory of the output's dtype and shape.",
       "expected {}({}) for the output '{}', got {}", ostinato::name_of(expected.dtype),
       fmt::join(shape, ", "), output.name,
       got.defined()
           ? fmt::format("{}({})", ostinato::name_of(got.dtype()), fmt::join(got.shape(), ", "))
           : "an undefined tensor");
}

void check_apart(std::span<const ir::Output> names, std::span<const Tensor> inputs,
                 std::span<const Tensor> outputs) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const auto shares = [&](const Tensor& other) { return overlap(outputs[i], other); };
    if (std::none_of(inputs.begin(), inputs.end(), shares) &&
        std::none_of(outputs.begin(), outputs.begin() + static_cast<std::ptrdiff_t>(i), shares)) {
      continue;
    }
    fail(ErrorCode::invalid_argument, "runtime/context", "Give each output memory of its own.",
         "the output '{}' shares memory with another tensor of the call", names[i].name);
  }
}

}  // namespace

Executable& Context::prepare_for(std::span<const Tensor> inputs) {
  const auto& expected = program_->graph().inputs();
  std::vector<std::vector<int64_t>> shapes;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (i < expected.size() && !inputs[i].defined()) {
      fail(ErrorCode::invalid_argument, "runtime/context", "Give a tensor that has storage.",
           "expected {} for the input '{}', got an undefined tensor", to_string(expected[i]->type),
           expected[i]->name);
    }
    if (i < expected.size() && inputs[i].dtype() != expected[i]->dtype()) {
      fail(ErrorCode::invalid_argument, "runtime/context", "Convert the input.",
           "expected {} for the input '{}', got {}", ostinato::name_of(expected[i]->dtype()),
           expected[i]->name, ostinato::name_of(inputs[i].dtype()));
    }
    shapes.push_back(inputs[i].shape());
  }
  return prepare(bind_inputs(program_->graph(), shapes));
}

std::vector<Tensor> Context::run(std::span<const Tensor> inputs) {
  Executable& executable = prepare_for(inputs);
  std::vector<Tensor> outputs;
  for (const ir::ValueType& type : executable.outputs()) {
    outputs.push_back(Tensor::empty(type.dtype, to_integers(type.shape)));
  }
  execute(executable, inputs, outputs);
  return outputs;
}

void Context::run_into(std::span<const Tensor> inputs, std::span<Tensor> outputs) {
  Executable& executable = prepare_for(inputs);
  const auto& names = program_->graph().outputs();
  if (outputs.size() != names.size()) {
    fail(ErrorCode::invalid_argument, "runtime/context", "Give every output once.",
         "expected {} outputs, got {}", names.size(), outputs.size());
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    check_output(names[i], executable.outputs()[i], outputs[i]);
  }
  check_apart(names, inputs, outputs);
  execute(executable, inputs, outputs);
}

}  // namespace ostinato::runtime
