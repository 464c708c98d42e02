#include "ostinato/bench/lane.h"

#include <algorithm>
#include <chrono>
#include <fstream>

#include "ostinato/base/error.h"
#include "ostinato/runtime/generate.h"

namespace ostinato::bench {

namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

std::shared_ptr<const runtime::Program> make_program(const LaneSpec& spec, ir::Graph graph) {
  return std::make_shared<const runtime::Program>(
      std::move(graph), device::get(spec.device),
      runtime::ProgramOptions{spec.mode, spec.threads, spec.passes_off});
}

/// A line of /proc/self/status in bytes.
size_t status_bytes(std::string_view key) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key)) return std::stoull(line.substr(key.size() + 1)) * 1024;
  }
  return 0;
}

}  // namespace

Lane::Lane(LaneSpec spec)
    : spec_(std::move(spec)), source_([this] {
        const auto start = Clock::now();
        auto source = runtime::Source::open(spec_.model, {spec_.dtype, spec_.weights, spec_.seed});
        import_ms_ = milliseconds_since(start);
        return source;
      }()) {}

Json Lane::first_call(const NamedTensors& inputs) {
  const auto start = Clock::now();
  double import_ms = 0;
  if (forward_ == nullptr) {
    ir::Graph graph = source_.forward();
    import_ms = import_ms_ + milliseconds_since(start);
    forward_ = std::make_unique<runtime::Context>(make_program(spec_, std::move(graph)),
                                                  runtime::ContextOptions{spec_.capture_limit});
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
  executable_ = &forward_->prepare(bind_inputs(graph, shapes));
  outputs_.clear();
  output_pointers_.clear();
  for (size_t i = 0; i < executable_->outputs().size(); ++i) {
    const ir::ValueType& type = executable_->outputs()[i];
    outputs_.emplace_back(graph.outputs()[i].name,
                          Tensor::empty(type.dtype, to_integers(type.shape)));
    output_pointers_.push_back(outputs_.back().second.data());
  }
  const auto run_start = Clock::now();
  (*executable_)({input_pointers_, output_pointers_});
  const double run_ms = milliseconds_since(run_start);
  const runtime::Phases& phases = executable_->phases();
  Json result = {{"dtype", ostinato::name_of(source_.dtype())}};
  result["first_call_ms"] = milliseconds_since(start) + (import_ms > 0 ? import_ms_ : 0);
  result["phases_ms"] = {{"import", import_ms},          {"passes", phases.passes_ms},
                         {"plan", phases.plan_ms},       {"pack", phases.pack_ms},
                         {"capture", phases.capture_ms}, {"run", run_ms}};
  if (spec_.mode == runtime::Mode::graph) {
    result["planned_arena_bytes"] = executable_->plan().arena_bytes;
  }
  return result;
}

Json Lane::time(int64_t iterations, double budget_ms) {
  std::vector<double> samples;
  const auto begin = Clock::now();
  for (int64_t i = 0; i < iterations; ++i) {
    if (i > 0 && milliseconds_since(begin) > budget_ms) break;
    const auto start = Clock::now();
    (*executable_)({input_pointers_, output_pointers_});
    samples.push_back(milliseconds_since(start));
  }
  return {{"samples_ms", samples}};
}

runtime::Context& Lane::decoder(int64_t capacity) {
  if (decoder_ == nullptr || decoder_capacity_ < capacity) {
    decoder_ =
        std::make_unique<runtime::Context>(make_program(spec_, source_.model()->decoder(capacity)),
                                           runtime::ContextOptions{spec_.capture_limit});
    decoder_capacity_ = capacity;
  }
  return *decoder_;
}

Json Lane::generate(const std::vector<int64_t>& prompt, int64_t max_new_tokens, bool ignore_stop) {
  runtime::GenerateOptions options{max_new_tokens, {}};
  if (!ignore_stop) options.stop_tokens = source_.model()->generation().eos;
  const int64_t needed = static_cast<int64_t>(prompt.size()) + max_new_tokens;
  const int64_t capacity = std::max(decoder_capacity_, runtime::prefill_bucket(needed));
  const runtime::Generation result = generate_cached(decoder(capacity), prompt, capacity, options,
                                                     [](int64_t, const Tensor&) { return true; });
  return {{"tokens", result.tokens},
          {"first_token_ms", result.first_token_ms},
          {"token_ms", result.token_ms},
          {"stopped", result.stopped}};
}

Json Lane::judge(const std::vector<int64_t>& prompt, const std::vector<int64_t>& tokens) {
  std::vector<int64_t> ids = prompt;
  ids.insert(ids.end(), tokens.begin(), tokens.end());
  Tensor input =
      Tensor::borrow(ids.data(), DType::int64, {1, static_cast<int64_t>(ids.size())}, nullptr);
  first_call({{"input_ids", input}});
  const std::vector<double> logits = to_doubles(outputs_.at(0).second);
  const auto vocabulary = static_cast<size_t>(outputs_.at(0).second.shape().back());
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

Json Lane::memory() {
  // The kernel keeps a peak of the resident set only, so anonymous memory is what is there now.
  return {{"peak_rss_bytes", status_bytes("VmHWM:")},
          {"peak_anonymous_bytes", status_bytes("RssAnon:")}};
}

}  // namespace ostinato::bench
