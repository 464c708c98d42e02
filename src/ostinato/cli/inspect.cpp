#include <algorithm>

#include "ostinato/base/atomic_file.h"
#include "ostinato/base/error.h"
#include "ostinato/base/json.h"
#include "ostinato/cli/cli.h"
#include "ostinato/cli/explain.h"
#include "ostinato/cli/graph_page.h"
#include "ostinato/cli/output.h"
#include "ostinato/cli/pass_table.h"
#include "ostinato/cli/progress.h"
#include "ostinato/ir/aliases.h"
#include "ostinato/ir/text.h"
#include "ostinato/passes/layers.h"
#include "ostinato/plan/eager.h"
#include "ostinato/runtime/evaluate.h"
#include "ostinato/runtime/passes_for.h"
#include "ostinato/runtime/program.h"

namespace ostinato::cli {

namespace {

struct Flags : CommonFlags {
  bool passes = false, memory = false, kernels = false, layers = false;
  std::string explain, html;
  double gigaflops = 0;   ///< a second, of all threads; none: 80 for each
  double gigabytes = 16;  ///< a second
  int64_t batch_size = 1;
  std::optional<int64_t> sequence, cache;
};

/// A text of 128 tokens if nothing else is said, or of as many as the model takes.
int64_t sequence_of(const runtime::Source& source, const Flags& flags) {
  constexpr int64_t kUsual = 128;
  const int64_t longest = source.model() ? source.model()->context_length() : 0;
  if (longest == 0) return flags.sequence.value_or(kUsual);
  const int64_t sequence = flags.sequence.value_or(std::min(kUsual, longest));
  if (sequence > longest) {
    fail(ErrorCode::invalid_argument, "cli/--sequence", "Give a shorter one.",
         "expected at most {} tokens, which is what {} takes, got {}", longest, flags.model,
         sequence);
  }
  return sequence;
}

ir::Bindings bindings_of(const ir::Graph& graph, int64_t batch, int64_t sequence) {
  ir::Bindings bindings;
  for (const std::string& symbol : graph.symbols()) {
    bindings[symbol] = symbol == "s" ? sequence : batch;
  }
  return bindings;
}

Json memory_report(const plan::Plan& plan, const ir::Graph& unchanged) {
  size_t constants = 0, states = 0, outputs = 0;
  for (const ir::Value* constant : plan.graph.constants()) constants += constant->data.bytes();
  for (const ir::Value* state : plan.graph.states()) states += bytes_of(*state);
  for (const ir::Output& output : plan.graph.outputs()) outputs += bytes_of(*output.value);
  const size_t bound = lower_bound(plan.buffers), eager = plan::eager_peak(unchanged);
  const auto share = [](size_t part, size_t whole) {
    return whole == 0 ? 1.0 : static_cast<double>(part) / static_cast<double>(whole);
  };
  return {{"constants_bytes", constants},
          {"states_bytes", states},
          {"arena_bytes", plan.arena_bytes},
          {"arena_lower_bound_bytes", bound},
          {"arena_over_lower_bound", share(plan.arena_bytes, bound)},
          {"outputs_bytes", outputs},
          {"eager_peak_bytes", eager},
          {"arena_over_eager", share(plan.arena_bytes, eager)},
          {"buffers", plan.buffers.size()},
          {"steps", plan.steps.size()}};
}

void print_memory(const Json& memory) {
  const auto megabytes = [&memory](const char* key) { return memory[key].get<double>() / 1e6; };
  output("constants {:>10.2f} MB\nstates    {:>10.2f} MB\n", megabytes("constants_bytes"),
         megabytes("states_bytes"));
  output("arena     {:>10.2f} MB for {} buffers, {:.3f} of the {:.2f} MB that any plan needs\n",
         megabytes("arena_bytes"), memory["buffers"].get<size_t>(),
         memory["arena_over_lower_bound"].get<double>(), megabytes("arena_lower_bound_bytes"));
  output("outputs   {:>10.2f} MB\n", megabytes("outputs_bytes"));
  output("eager     {:>10.2f} MB at its peak for what the arena holds, which is {:.1f} % of it\n",
         megabytes("eager_peak_bytes"), 100 * memory["arena_over_eager"].get<double>());
  output("steps     {:>10}\n", memory["steps"].get<size_t>());
}

Json kernel_report(const plan::Plan& plan) {
  std::map<std::string, size_t> counts;
  for (const plan::Step& step : plan.steps) ++counts[std::string(step.node->op->name)];
  return counts;
}

/// The layers of a graph whose sizes are integers, each kind with what one of them costs and calls.
Json layer_report(const ir::Graph& graph, const passes::Ceilings& ceilings) {
  const auto aliases = ir::find_aliases(graph);
  Json report = Json::array();
  for (const passes::Layers& layers : passes::find_layers(graph)) {
    passes::Cost cost;
    Json texts = Json::array();
    for (const ir::Node* call : layers.calls) {
      cost += passes::cost_of(*call, aliases, ceilings);
      texts.push_back(ir::to_string(*call));
    }
    report.push_back({{"count", layers.count},
                      {"nodes", cost.nodes},
                      {"kernels", cost.kernels},
                      {"flops", cost.flops},
                      {"bytes", cost.bytes},
                      {"predicted_ms", cost.seconds * 1e3},
                      {"calls", std::move(texts)}});
  }
  return report;
}

void print_layers(const Json& report) {
  if (report.empty()) output("no layers: no part of the graph comes again with other weights\n");
  for (const Json& layers : report) {
    output(
        "{} layers, each of {} calls, {} of them kernels: {:.3f} GFLOP, {:.2f} MB, predicted "
        "{:.3f} ms\n",
        layers["count"].get<size_t>(), layers["nodes"].get<size_t>(),
        layers["kernels"].get<size_t>(), layers["flops"].get<double>() / 1e9,
        layers["bytes"].get<double>() / 1e6, layers["predicted_ms"].get<double>());
    for (const Json& call : layers["calls"]) output("  {}\n", call.get<std::string>());
  }
}

/// The whole `forward`, or the graph that `generate` replays.
ir::Graph graph_of(const runtime::Source& source, const Flags& flags) {
  if (!flags.cache) return source.forward();
  if (!source.model()) {
    fail(ErrorCode::invalid_argument, "cli/--kv-cache", "Leave it out.",
         "expected a model that generates, got the graph text {}", flags.model);
  }
  return source.model()->decoder(flags.cache);
}

passes::Ceilings ceilings_of(const Flags& flags) {
  constexpr double kGigaflopsPerThread = 80;  // of a core with AVX-512 in float32
  const double gigaflops =
      flags.gigaflops > 0 ? flags.gigaflops : kGigaflopsPerThread * flags.threads;
  return {gigaflops * 1e9, flags.gigabytes * 1e9};
}

/// The passes once more, watched, on a copy of the graph that they have not seen.
void watch_passes(const ir::Graph& unchanged, const EngineOptions& engine, PassTable& table,
                  passes::History& history) {
  ir::Graph graph = unchanged.specialise({});
  table.before(graph);
  history.watch(graph);
  const auto off = runtime::passes_off_for(device::get("cpu"), engine.passes_off);
  passes::optimise(graph, {off, runtime::constant_evaluator(),
                           [&](const passes::PassReport& pass, const ir::Graph& after) {
                             table.after(pass, after);
                             history.record(pass, after);
                           }});
}

void print(const Json& report, const PassTable& table) {
  if (report.contains("graph")) output("{}", report["graph"].get<std::string>());
  if (report.contains("memory")) print_memory(report["memory"]);
  if (report.contains("layers")) print_layers(report["layers"]);
  if (report.contains("passes")) table.print();
  if (report.contains("explain")) print_explanation(report["explain"]);
  if (report.contains("html")) output("{}\n", report["html"].get<std::string>());
  if (!report.contains("kernels")) return;
  for (const auto& [name, count] : report["kernels"].items()) {
    output("{:>6}  {}\n", count.get<size_t>(), name);
  }
}

void run(const Flags& flags) {
  const EngineOptions engine = parse_settings(flags.settings);
  device::Device& device = device::get(flags.device);
  ProgressBar bar;
  const auto source = open_source(flags, bar.callback());
  const int64_t sequence = sequence_of(source, flags);
  ir::Graph graph = graph_of(source, flags);
  const ir::Graph unchanged = graph.specialise({});
  const ir::Bindings bindings = bindings_of(graph, flags.batch_size, sequence);
  PassTable table(ceilings_of(flags), bindings);
  passes::History history;
  const bool watched = flags.passes || !flags.explain.empty() || !flags.html.empty();
  if (watched && flags.mode == runtime::Mode::graph) {
    watch_passes(unchanged, engine, table, history);
  }
  const runtime::Program program(
      std::move(graph), device,
      runtime::ProgramOptions{flags.mode, flags.threads, engine.passes_off, bar.callback()});
  Json report = Json::object();
  if (flags.passes) report["passes"] = table.report();
  if (!flags.explain.empty()) report["explain"] = explain(program.graph(), history, flags.explain);
  if (flags.layers) {
    report["layers"] = layer_report(program.graph().specialise(bindings), ceilings_of(flags));
  }
  if (flags.memory || flags.kernels) {
    const plan::Plan plan = program.plan(bindings, program.options().threads);
    if (flags.memory) report["memory"] = memory_report(plan, unchanged.specialise(bindings));
    if (flags.kernels) report["kernels"] = kernel_report(plan);
  }
  if (!flags.html.empty()) {
    write_file(flags.html, graph_page(program.graph(), history));
    report["html"] = flags.html;
  }
  if (report.empty()) report["graph"] = ir::print(program.graph());
  if (flags.json) {
    output("{}\n", dump(report, 1));
  } else {
    print(report, table);
  }
}

}  // namespace

void add_inspect(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb =
      app.add_subcommand("inspect", "The graph as a mode runs it, its passes, memory and kernels");
  add_common_flags(
      *verb, *flags,
      {"--device", "--dtype", "--mode", "--threads", "--set", "--weights", "--seed", "--json"});
  verb->add_flag("--passes", flags->passes,
                 "Each pass with the nodes, FLOPs, bytes and time that it saves");
  verb->add_flag(
      "--memory", flags->memory,
      "Constants, states and arena as planned, what no plan can beat, and what eager needs");
  verb->add_flag("--kernels", flags->kernels, "How many launches of each operator");
  verb->add_flag("--layers", flags->layers,
                 "The calls and the cost of one layer, and how many there are like it");
  verb->add_option(
      "--explain", flags->explain,
      "A call's operands, readers, source lines, and the calls that passes made it of: "
      "by id, operator, source, or the name of a weight or input");
  verb->add_option("--html", flags->html, "Write a page with a picture of the graph to this file")
      ->check(is_path());
  verb->add_option(
          "--peak-gflops", flags->gigaflops,
          "For --passes and --layers: GFLOP/s of the machine; 80 for each thread if not given")
      ->check(CLI::PositiveNumber);
  verb->add_option("--bandwidth", flags->gigabytes,
                   "For --passes and --layers: GB/s of the machine's memory")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verb->add_option("--batch-size", flags->batch_size,
                   "For --passes, --layers, --memory and --kernels")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  verb->add_option("--sequence", flags->sequence,
                   "Tokens, for --passes, --layers, --memory and --kernels; 128 if not given and "
                   "the model takes as many")
      ->check(CLI::Range(1, 1 << 20));
  verb->add_option("--kv-cache", flags->cache,
                   "The graph that generate replays, with a cache of so many tokens")
      ->check(CLI::Range(1, 1 << 30));
  verb->footer(
      "Examples:\n"
      "  ostinato inspect vit-base-patch16-224 > vit.graph\n"
      "  ostinato inspect all-MiniLM-L6-v2 --passes --explain linear\n"
      "  ostinato inspect qwen3-0.6b --layers --html qwen3.html\n"
      "  ostinato inspect vit-base-patch16-224 --memory --batch-size 8");
  verb->callback([flags] { run(*flags); });
}

}  // namespace ostinato::cli
