#include "ostinato/bench/lane.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <utility>

#include "ostinato/base/error.h"
#include "ostinato/bench/fallbacks.h"
#include "ostinato/passes/pipeline.h"
#include "ostinato/runtime/evaluate.h"
#include "ostinato/runtime/generate.h"
#include "ostinato/runtime/passes_for.h"

namespace ostinato::bench {

namespace {

using runtime::Mode;

constexpr std::array<LaneKind, 5> kKinds = {{
    {kGolden, Mode::reference, false},
    {kEager, Mode::eager, false},
    {kGraph, Mode::graph, true},
    {kEagerOptimised, Mode::eager, true},
    {kGraphUnfused, Mode::graph, false},
}};

class Stopwatch {
 public:
  double milliseconds() const {
    return std::chrono::duration<double, std::milli>(Clock::now() - start_).count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

Json to_json(const FirstCall& phases, double whole_ms) {
  return {{"first_call_ms", whole_ms},
          {"phases_ms",
           {{"import", phases.import_ms},
            {"passes", phases.passes_ms},
            {"plan", phases.plan_ms},
            {"pack", phases.pack_ms},
            {"capture", phases.capture_ms},
            {"run", phases.run_ms}}}};
}

std::vector<std::string> all_passes() {
  std::vector<std::string> names;
  for (const passes::Pass& pass : passes::pipeline()) names.emplace_back(pass.name);
  return names;
}

/// Of a decoder, whose batch may be fixed.
ir::Bindings one_sequence(const ir::Graph& graph, int64_t length) {
  ir::Bindings bindings;
  for (const std::string& symbol : graph.symbols()) bindings[symbol] = symbol == "s" ? length : 1;
  return bindings;
}

}  // namespace

std::span<const LaneKind> lane_kinds() { return kKinds; }

const LaneKind& lane_kind(std::string_view name) {
  std::vector<std::string_view> names;
  for (const LaneKind& kind : kKinds) {
    if (kind.name == name) return kind;
    names.push_back(kind.name);
  }
  fail(ErrorCode::invalid_argument, "bench", fmt::format("Lanes are {}.", fmt::join(names, ", ")),
       "there is no lane '{}'", name);
}

Lane::Lane(LaneSpec spec)
    : spec_(std::move(spec)), source_([this] {
        const Stopwatch opening;
        auto source = runtime::Source::open(spec_.model, {spec_.dtype, spec_.weights, spec_.seed});
        open_ms_ = opening.milliseconds();
        return source;
      }()) {}

std::unique_ptr<runtime::Context> Lane::compile(ir::Graph graph, FirstCall& phases) const {
  runtime::ProgramOptions options{spec_.kind.mode, spec_.threads, spec_.passes_off};
  if (spec_.kind.mode == Mode::graph && !spec_.kind.optimised) options.passes_off = all_passes();
  if (spec_.kind.mode == Mode::eager && spec_.kind.optimised) {
    const Stopwatch optimising;
    passes::optimise(graph, {runtime::passes_off_for(device::get(spec_.device), spec_.passes_off),
                             runtime::constant_evaluator(),
                             {}});
    phases.passes_ms += optimising.milliseconds();
  }
  auto program = std::make_shared<const runtime::Program>(std::move(graph),
                                                          device::get(spec_.device), options);
  phases.passes_ms += program->passes_ms();
  return std::make_unique<runtime::Context>(std::move(program),
                                            runtime::ContextOptions{spec_.capture_limit});
}

runtime::Executable& Lane::prepare(runtime::Context& context, const ir::Bindings& bindings,
                                   FirstCall& phases) {
  const size_t captures = context.counters().captures;
  runtime::Executable& executable = context.prepare(bindings);
  if (context.counters().captures == captures) return executable;  // it was there already
  phases.plan_ms += executable.phases().plan_ms;
  phases.pack_ms += executable.phases().pack_ms;
  phases.capture_ms += executable.phases().capture_ms;
  return executable;
}

Json Lane::describe(const runtime::Context& context, const runtime::Executable& executable) const {
  const runtime::Program& program = context.program();
  const device::Device& device = program.device();
  Json fallbacks =
      spec_.kind.mode == Mode::reference ? Json::array() : fallbacks_of(executable.plan(), device);
  Json result = {{"device", device.name()},
                 {"dtype", ostinato::name_of(source_.dtype())},
                 {"mode", name_of(executable.is_captured() ? Mode::graph : program.options().mode)},
                 {"threads", context.threads()},
                 {"weights", importer::name_of(source_.weights())},
                 {"fallbacks", std::move(fallbacks)},
                 {"packed_weight_bytes", program.packed().bytes()}};
  if (executable.is_captured()) result["planned_arena_bytes"] = executable.plan().arena_bytes;
  return result;
}

Json Lane::first_call(const NamedTensors& inputs) {
  const Stopwatch whole;
  const double open_ms = std::exchange(open_ms_, 0.0);
  FirstCall phases;
  phases.import_ms = open_ms;
  if (forward_ == nullptr) {
    const Stopwatch building;
    ir::Graph graph = source_.forward();
    phases.import_ms += building.milliseconds();
    forward_ = compile(std::move(graph), phases);
  }
  const ir::Graph& graph = forward_->program().graph();
  inputs_.clear();
  input_pointers_.clear();
  std::vector<std::vector<int64_t>> shapes;
  for (size_t i = 0; i < inputs.size(); ++i) {
    inputs_.emplace_back(inputs[i].first, inputs[i].second.to(graph.inputs()[i]->dtype()));
    input_pointers_.push_back(inputs_.back().second.data());
    shapes.push_back(inputs[i].second.shape());
  }
  executable_ = &prepare(*forward_, bind_inputs(graph, shapes), phases);
  outputs_.clear();
  output_pointers_.clear();
  for (size_t i = 0; i < executable_->outputs().size(); ++i) {
    const ir::ValueType& type = executable_->outputs()[i];
    outputs_.emplace_back(graph.outputs()[i].name,
                          Tensor::empty(type.dtype, to_integers(type.shape)));
    output_pointers_.push_back(outputs_.back().second.data());
  }
  const Stopwatch running;
  (*executable_)({input_pointers_, output_pointers_});
  phases.run_ms = running.milliseconds();
  Json result = to_json(phases, open_ms + whole.milliseconds());
  result.update(describe(*forward_, *executable_));
  return result;
}

Json Lane::time(int64_t iterations, double budget_ms) {
  std::vector<double> samples;
  const Stopwatch whole;
  for (int64_t i = 0; i < iterations; ++i) {
    if (i > 0 && whole.milliseconds() > budget_ms) break;
    const Stopwatch call;
    (*executable_)({input_pointers_, output_pointers_});
    samples.push_back(call.milliseconds());
  }
  return {{"samples_ms", samples}};
}

Json Lane::prepare_generation(const std::vector<int64_t>& prompt, int64_t max_new_tokens,
                              int64_t capacity) {
  const Stopwatch whole;
  FirstCall phases;
  if (decoder_ == nullptr || decoder_capacity_ < capacity) {
    forward_.reset();  // and its packed weights, of which the decoder makes its own
    executable_ = nullptr;
    const Stopwatch building;
    ir::Graph graph = source_.model()->decoder(capacity);
    phases.import_ms = building.milliseconds();
    decoder_ = compile(std::move(graph), phases);
    decoder_capacity_ = capacity;
  }
  const int64_t bucket = runtime::prefill_bucket(static_cast<int64_t>(prompt.size()));
  for (const int64_t length : {std::min(bucket, decoder_capacity_), int64_t{1}}) {
    prepare(*decoder_, one_sequence(decoder_->program().graph(), length), phases);
  }
  const Stopwatch running;
  generate_cached(*decoder_, prompt, decoder_capacity_, {std::min<int64_t>(max_new_tokens, 2), {}},
                  {});
  phases.run_ms = running.milliseconds();
  Json result = to_json(phases, whole.milliseconds());
  const std::string remark =
      decoder_->prepare(one_sequence(decoder_->program().graph(), 1)).remark();
  if (!remark.empty()) result["decode_step"] = remark;
  return result;
}

Json Lane::generate(const std::vector<int64_t>& prompt, int64_t max_new_tokens) {
  const runtime::GenerateLimits limits{max_new_tokens, source_.model()->generation().eos};
  const runtime::Generation result =
      generate_cached(*decoder_, prompt, decoder_capacity_, limits, {});
  return {{"tokens", result.tokens},
          {"first_token_ms", result.first_token_ms},
          {"token_ms", result.token_ms},
          {"stopped", result.stopped}};
}

/// The logits (1, s, V) of one sequence.
const Tensor& Lane::read(const std::vector<int64_t>& ids) {
  Tensor input = Tensor::empty(DType::int64, {1, static_cast<int64_t>(ids.size())});
  std::copy(ids.begin(), ids.end(), input.as<int64_t>());
  first_call({{"input_ids", std::move(input)}});
  return outputs_.at(0).second;
}

Json Lane::judge(const std::vector<int64_t>& prompt, const std::vector<int64_t>& tokens) {
  std::vector<int64_t> ids = prompt;
  ids.insert(ids.end(), tokens.begin(), tokens.end());
  const Tensor& given = read(ids);
  const std::vector<double> logits = to_doubles(given);
  const auto vocabulary = static_cast<size_t>(given.shape().back());
  Json first = nullptr;
  size_t flips = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const auto row =
        logits.begin() + static_cast<std::ptrdiff_t>((prompt.size() + i - 1) * vocabulary);
    const auto best = std::max_element(row, row + static_cast<std::ptrdiff_t>(vocabulary));
    if (best - row == tokens[i]) continue;
    if (flips++ > 0) continue;
    first = {{"position", i},
             {"token", tokens[i]},
             {"instead", best - row},
             {"margin", *best - row[static_cast<std::ptrdiff_t>(tokens[i])]}};
  }
  return {{"first_flip", first}, {"flips", flips}};
}

Json Lane::perplexity(const std::vector<int64_t>& ids) {
  const double value = bench::perplexity(read(ids), ids);
  return {{"perplexity", std::isfinite(value) ? Json(value) : Json(nullptr)}};
}

}  // namespace ostinato::bench
