#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "ostinato/base/dtype.h"
#include "ostinato/base/error.h"
#include "ostinato/base/json.h"
#include "ostinato/bench/metrics.h"
#include "ostinato/cli/cli.h"
#include "ostinato/cli/output.h"
#include "ostinato/cli/progress.h"
#include "ostinato/import/safetensors_writer.h"
#include "ostinato/runtime/context.h"
#include "ostinato/runtime/inputs.h"

namespace ostinato::cli {

namespace {

constexpr int64_t kFirstValues = 6;
constexpr size_t kTop = 5;

struct Flags : CommonFlags {
  int64_t batch_size = 0;
  std::string output;
};

/// Some of a tensor's elements, as numbers.
std::vector<double> elements(const Tensor& tensor, int64_t begin, int64_t count) {
  auto* bytes = static_cast<char*>(const_cast<void*>(tensor.data()));
  const auto offset = static_cast<size_t>(begin) * size_of(tensor.dtype());
  return bench::to_doubles(Tensor::borrow(bytes + offset, tensor.dtype(), {count}, nullptr));
}

/// The most probable classes of one row of logits.
Json top_classes(const std::vector<double>& logits, const std::vector<std::string>& labels) {
  const size_t columns = labels.size();
  std::vector<size_t> order(columns);
  std::iota(order.begin(), order.end(), size_t{0});
  const size_t count = std::min(kTop, columns);
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
                    [&logits](size_t a, size_t b) { return logits[a] > logits[b]; });
  double sum = 0;
  for (size_t i = 0; i < columns; ++i) sum += std::exp(logits[i] - logits[order[0]]);
  Json top = Json::array();
  for (size_t i = 0; i < count; ++i) {
    top.push_back({{"label", labels[order[i]]},
                   {"probability", std::exp(logits[order[i]] - logits[order[0]]) / sum}});
  }
  return top;
}

Json describe(const std::string& name, const Tensor& tensor,
              const std::vector<std::string>& labels) {
  Json result = {{"name", name}, {"dtype", name_of(tensor.dtype())}, {"shape", tensor.shape()}};
  result["first_values"] = elements(tensor, 0, std::min(kFirstValues, tensor.numel()));
  const bool classes = name == "logits" && !labels.empty() && tensor.shape().size() == 2 &&
                       static_cast<size_t>(tensor.shape()[1]) == labels.size();
  for (int64_t row = 0; classes && row < tensor.shape()[0]; ++row) {
    const int64_t columns = tensor.shape()[1];
    result["top5"].push_back(top_classes(elements(tensor, row * columns, columns), labels));
  }
  return result;
}

void print_values(const Json& report) {
  for (const Json& input : report["inputs"]) {
    output("input   {}  {}({})  {}\n", input["name"].get<std::string>(),
           input["dtype"].get<std::string>(),
           fmt::join(input["shape"].get<std::vector<int64_t>>(), ", "),
           input["origin"].get<std::string>());
  }
  for (const Json& result : report["outputs"]) {
    const auto values = result["first_values"].get<std::vector<double>>();
    output("output  {}  {}({})  {:.6g}{}\n", result["name"].get<std::string>(),
           result["dtype"].get<std::string>(),
           fmt::join(result["shape"].get<std::vector<int64_t>>(), ", "), fmt::join(values, " "),
           values.size() < static_cast<size_t>(kFirstValues) ? "" : " …");
    if (!result.contains("top5")) continue;
    for (const Json& row : result["top5"]) {
      for (const Json& entry : row) {
        output("        {:6.2f} %  {}\n", 100 * entry["probability"].get<double>(),
               entry["label"].get<std::string>());
      }
    }
  }
}

void print_times(const Json& report) {
  output("{} on {}, {} threads: first call {:.1f} ms (with planning), then {:.3f} ms\n",
         report["mode"].get<std::string>(), report["device"].get<std::string>(),
         report["threads"].get<int>(), report["first_call_ms"].get<double>(),
         report["latency_ms"].get<double>());
}

/// A batch size that was asked for is the one that runs, whatever else was given.
void check_batch(const Flags& flags, const runtime::Source& source, const ir::Graph& graph,
                 const std::vector<runtime::NamedInput>& inputs) {
  constexpr std::string_view kStage = "cli/--batch-size";
  const auto given = static_cast<int64_t>(std::max(flags.images.size(), flags.prompts.size()));
  if (flags.batch_size == 0) return;
  if (given > flags.batch_size) {
    fail(ErrorCode::invalid_argument, kStage, "Leave --batch-size out, or give fewer.",
         "expected at most {} pictures or texts, got {}", flags.batch_size, given);
  }
  if (graph.symbols().empty()) {
    fail(ErrorCode::invalid_argument, kStage, "Leave --batch-size out.",
         "expected a model of any batch size, got fixed sizes in {}", flags.model);
  }
  for (const runtime::NamedInput& input : inputs) {
    const auto& shape = input.tensor.shape();
    if (!source.model() || shape.empty() || shape[0] == flags.batch_size) continue;
    fail(ErrorCode::invalid_argument, kStage, "Leave --batch-size out, or give that many.",
         "expected {} in the input '{}' from {}, got {}", flags.batch_size, input.name,
         input.origin, shape[0]);
  }
}

void run(const Flags& flags) {
  using Clock = std::chrono::steady_clock;
  const auto milliseconds = [](Clock::duration time) {
    return std::chrono::duration<double, std::milli>(time).count();
  };
  const EngineOptions engine = parse_settings(flags.settings);
  device::Device& device = device::get(flags.device);
  ProgressBar bar;
  const runtime::CacheFolder cache = open_cache(flags);
  const auto source = open_source(flags, bar.callback(), cache);
  ir::Graph graph = source.forward();
  const auto inputs = runtime::resolve_inputs(
      source, graph, {flags.inputs, flags.images, flags.prompts, flags.batch_size, flags.seed});
  check_batch(flags, source, graph, inputs);
  runtime::ProgramOptions options{flags.mode, flags.threads, engine.passes_off, bar.callback()};
  options.packed_cache = cache.packed;
  const auto program = std::make_shared<const runtime::Program>(std::move(graph), device, options);
  runtime::Context context(program, {static_cast<size_t>(engine.capture_limit)});
  std::vector<Tensor> tensors;
  for (const auto& input : inputs) tensors.push_back(input.tensor);

  const auto start = Clock::now();
  const std::vector<Tensor> outputs = context.run(tensors);
  const auto first = Clock::now();

  Json report = {{"mode", runtime::name_of(flags.mode)},
                 {"device", device.name()},
                 {"threads", flags.threads},
                 {"first_call_ms", milliseconds(first - start)},
                 {"inputs", Json::array()},
                 {"outputs", Json::array()}};
  for (const auto& input : inputs) {
    report["inputs"].push_back({{"name", input.name},
                                {"dtype", name_of(input.tensor.dtype())},
                                {"shape", input.tensor.shape()},
                                {"origin", input.origin}});
  }
  std::vector<std::pair<std::string, Tensor>> named;
  for (size_t i = 0; i < outputs.size(); ++i) {
    named.emplace_back(program->graph().outputs()[i].name, outputs[i]);
    report["outputs"].push_back(describe(named.back().first, outputs[i], source.labels()));
  }
  if (!flags.output.empty()) importer::write_safetensors(flags.output, named);
  if (!flags.json) print_values(report);
  flush_output();  // the results need not wait for another run, nor for the cache

  context.reset_states();
  const auto again = Clock::now();
  context.run(tensors);
  report["latency_ms"] = milliseconds(Clock::now() - again);
  if (flags.json) {
    output("{}\n", dump(report));
  } else {
    print_times(report);
  }
  flush_output();
  if (cache.packed != nullptr) cache.packed->finish(bar.callback());
}

}  // namespace

void add_run(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = app.add_subcommand("run", "One inference in one lane");
  add_common_flags(*verb, *flags,
                   {"--device", "--dtype", "--mode", "--threads", "--set", "--weights", "--seed",
                    "--cache-dir", "--inputs", "--image", "--prompt", "--json"});
  verb->add_option("--batch-size", flags->batch_size, "Pictures or texts repeat to fill it")
      ->check(CLI::Range(1, 1 << 20));
  verb->add_option("--output", flags->output, "Write the outputs to this safetensors file")
      ->check(is_path());
  verb->footer(
      "Examples:\n"
      "  ostinato run vit-base-patch16-224 --image cat.jpg\n"
      "  ostinato run all-MiniLM-L6-v2 --prompt 'A cat sleeps.' --output embedding.safetensors\n"
      "  ostinato run chain.graph --inputs x.safetensors --mode reference --json");
  verb->callback([flags] { run(*flags); });
}

}  // namespace ostinato::cli
