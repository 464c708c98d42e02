#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "ostinato/base/dtype.h"
#include "ostinato/base/error.h"
#include "ostinato/base/json.h"
#include "ostinato/bench/metrics.h"
#include "ostinato/cli/cli.h"
#include "ostinato/import/safetensors_writer.h"
#include "ostinato/runtime/context.h"
#include "ostinato/runtime/inputs.h"

namespace ostinato::cli {

namespace {

constexpr size_t kFirstValues = 6;
constexpr size_t kTop = 5;

struct Flags : CommonFlags {
  int64_t batch_size = 0;
  std::string output;
};

/// The most probable classes of one row of logits.
Json top_classes(const std::vector<double>& values, const std::vector<std::string>& labels,
                 size_t row) {
  const size_t columns = labels.size();
  const double* logits = values.data() + row * columns;
  std::vector<size_t> order(columns);
  std::iota(order.begin(), order.end(), size_t{0});
  const size_t count = std::min(kTop, columns);
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
                    [logits](size_t a, size_t b) { return logits[a] > logits[b]; });
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
  const std::vector<double> values = bench::to_doubles(tensor);
  Json result = {{"name", name}, {"dtype", name_of(tensor.dtype())}, {"shape", tensor.shape()}};
  result["first_values"] = std::vector<double>(
      values.begin(),
      values.begin() + static_cast<std::ptrdiff_t>(std::min(kFirstValues, values.size())));
  const bool classes = name == "logits" && !labels.empty() && tensor.shape().size() == 2 &&
                       static_cast<size_t>(tensor.shape()[1]) == labels.size();
  for (int64_t row = 0; classes && row < tensor.shape()[0]; ++row) {
    result["top5"].push_back(top_classes(values, labels, static_cast<size_t>(row)));
  }
  return result;
}

void print_text(const Json& report) {
  for (const Json& input : report["inputs"]) {
    fmt::print("input   {}  {}({})  {}\n", input["name"].get<std::string>(),
               input["dtype"].get<std::string>(),
               fmt::join(input["shape"].get<std::vector<int64_t>>(), ", "),
               input["origin"].get<std::string>());
  }
  for (const Json& output : report["outputs"]) {
    const auto values = output["first_values"].get<std::vector<double>>();
    fmt::print("output  {}  {}({})  {:.6g}{}\n", output["name"].get<std::string>(),
               output["dtype"].get<std::string>(),
               fmt::join(output["shape"].get<std::vector<int64_t>>(), ", "), fmt::join(values, " "),
               values.size() < kFirstValues ? "" : " …");
    if (!output.contains("top5")) continue;
    for (const Json& row : output["top5"]) {
      for (const Json& entry : row) {
        fmt::print("        {:6.2f} %  {}\n", 100 * entry["probability"].get<double>(),
                   entry["label"].get<std::string>());
      }
    }
  }
  fmt::print("{} on {}, {} threads: first call {:.1f} ms (with planning), then {:.3f} ms\n",
             report["mode"].get<std::string>(), report["device"].get<std::string>(),
             report["threads"].get<int>(), report["first_call_ms"].get<double>(),
             report["latency_ms"].get<double>());
}

void run(const Flags& flags) {
  using Clock = std::chrono::steady_clock;
  const auto milliseconds = [](Clock::duration time) {
    return std::chrono::duration<double, std::milli>(time).count();
  };
  const EngineOptions engine = parse_settings(flags.settings);
  device::Device& device = device::get(flags.device);
  const auto source = runtime::Source::open(flags.model, model_options(flags));
  ir::Graph graph = source.forward();
  const auto inputs = resolve_inputs(
      source, graph, {flags.inputs, flags.images, flags.prompts, flags.batch_size, flags.seed});
  const auto program = std::make_shared<const runtime::Program>(
      std::move(graph), device,
      runtime::ProgramOptions{flags.mode, flags.threads, engine.passes_off});
  runtime::Context context(program, {static_cast<size_t>(engine.capture_limit)});
  std::vector<Tensor> tensors;
  for (const auto& input : inputs) tensors.push_back(input.tensor);

  const auto start = Clock::now();
  std::vector<Tensor> outputs = context.run(tensors);
  const auto first = Clock::now();
  context.reset_states();
  const auto again = Clock::now();
  outputs = context.run(tensors);
  const auto done = Clock::now();

  Json report = {{"mode", runtime::name_of(flags.mode)},
                 {"device", device.name()},
                 {"threads", flags.threads},
                 {"first_call_ms", milliseconds(first - start)},
                 {"latency_ms", milliseconds(done - again)},
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
  if (flags.json) {
    fmt::print("{}\n", report.dump());
  } else {
    print_text(report);
  }
}

}  // namespace

void add_run(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = app.add_subcommand("run", "One inference in one lane");
  add_common_flags(*verb, *flags,
                   {"--device", "--dtype", "--mode", "--threads", "--set", "--weights", "--seed",
                    "--inputs", "--image", "--prompt", "--json"});
  verb->add_option("--batch-size", flags->batch_size, "Pictures or texts repeat to fill it")
      ->check(CLI::Range(1, 1 << 20));
  verb->add_option("--output", flags->output, "Write the outputs to this safetensors file");
  verb->footer(
      "Examples:\n"
      "  ostinato run vit-base-patch16-224 --image cat.jpg\n"
      "  ostinato run all-MiniLM-L6-v2 --prompt 'A cat sleeps.' --output embedding.safetensors\n"
      "  ostinato run chain.graph --inputs chain.safetensors --mode reference --json");
  verb->callback([flags] { run(*flags); });
}

}  // namespace ostinato::cli
