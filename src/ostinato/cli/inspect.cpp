#include <algorithm>

#include "ostinato/base/error.h"
#include "ostinato/base/json.h"
#include "ostinato/cli/cli.h"
#include "ostinato/cli/output.h"
#include "ostinato/cli/progress.h"
#include "ostinato/ir/text.h"
#include "ostinato/plan/eager.h"
#include "ostinato/runtime/program.h"

namespace ostinato::cli {

namespace {

struct Flags : CommonFlags {
  bool passes = false, memory = false, kernels = false;
  int64_t batch_size = 1;
  std::optional<int64_t> sequence, cache;
};

Json pass_report(const runtime::Program& program) {
  Json table = Json::array();
  for (const passes::PassReport& pass : program.passes()) {
    table.push_back({{"name", pass.name},
                     {"changed", pass.changed},
                     {"nodes_before", pass.nodes_before},
                     {"nodes_after", pass.nodes_after},
                     {"microseconds", pass.microseconds}});
  }
  return table;
}

void print_passes(const Json& table) {
  output("{:<20} {:>8} {:>8} {:>10}\n", "pass", "before", "after", "µs");
  for (const Json& row : table) {
    output("{:<20} {:>8} {:>8} {:>10}\n", row["name"].get<std::string>(),
           row["nodes_before"].get<size_t>(), row["nodes_after"].get<size_t>(),
           row["microseconds"].get<int64_t>());
  }
}

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

ir::Bindings bindings_of(const runtime::Program& program, int64_t batch, int64_t sequence) {
  ir::Bindings bindings;
  for (const std::string& symbol : program.symbols()) {
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

/// The whole `forward`, or the graph that `generate` replays.
ir::Graph graph_of(const runtime::Source& source, const Flags& flags) {
  if (!flags.cache) return source.forward();
  if (!source.model()) {
    fail(ErrorCode::invalid_argument, "cli/--kv-cache", "Leave it out.",
         "expected a model that generates, got the graph text {}", flags.model);
  }
  return source.model()->decoder(*flags.cache);
}

void run(const Flags& flags) {
  const EngineOptions engine = parse_settings(flags.settings);
  device::Device& device = device::get(flags.device);
  ProgressBar bar;
  const auto source = open_source(flags, bar.callback());
  const int64_t sequence = sequence_of(source, flags);
  const runtime::Program program(
      graph_of(source, flags), device,
      runtime::ProgramOptions{flags.mode, flags.threads, engine.passes_off, bar.callback()});
  Json report = Json::object();
  if (flags.passes) report["passes"] = pass_report(program);
  if (flags.memory || flags.kernels) {
    const ir::Bindings bindings = bindings_of(program, flags.batch_size, sequence);
    const plan::Plan plan = program.plan(bindings, program.options().threads);
    if (flags.memory) {
      report["memory"] = memory_report(plan, graph_of(source, flags).specialise(bindings));
    }
    if (flags.kernels) report["kernels"] = kernel_report(plan);
  }
  if (report.empty()) report["graph"] = ir::print(program.graph());
  if (flags.json) {
    output("{}\n", dump(report, 1));
    return;
  }
  if (report.contains("graph")) output("{}", report["graph"].get<std::string>());
  if (report.contains("memory")) print_memory(report["memory"]);
  if (report.contains("passes")) print_passes(report["passes"]);
  if (!report.contains("kernels")) return;
  for (const auto& [name, count] : report["kernels"].items()) {
    output("{:>6}  {}\n", count.get<size_t>(), name);
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
  verb->add_flag("--passes", flags->passes, "Each pass with the nodes before and after");
  verb->add_flag(
      "--memory", flags->memory,
      "Constants, states and arena as planned, what no plan can beat, and what eager needs");
  verb->add_flag("--kernels", flags->kernels, "How many launches of each operator");
  verb->add_option("--batch-size", flags->batch_size, "For --memory and --kernels")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  verb->add_option(
          "--sequence", flags->sequence,
          "Tokens, for --memory and --kernels; 128 if not given and the model takes as many")
      ->check(CLI::Range(1, 1 << 20));
  verb->add_option("--kv-cache", flags->cache,
                   "The graph that generate replays, with a cache of so many tokens")
      ->check(CLI::Range(1, 1 << 30));
  verb->footer(
      "Examples:\n"
      "  ostinato inspect vit-base-patch16-224 > vit.graph\n"
      "  ostinato inspect vit-base-patch16-224 --memory --batch-size 8");
  verb->callback([flags] { run(*flags); });
}

}  // namespace ostinato::cli
