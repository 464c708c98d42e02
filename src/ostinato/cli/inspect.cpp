#include <algorithm>

#include "ostinato/base/error.h"
#include "ostinato/base/json.h"
#include "ostinato/cli/cli.h"
#include "ostinato/ir/text.h"
#include "ostinato/runtime/program.h"
#include "ostinato/runtime/source.h"

namespace ostinato::cli {

namespace {

struct Flags : CommonFlags {
  bool passes = false, memory = false, kernels = false;
  int64_t batch_size = 1;
  int64_t sequence = 128;
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
  fmt::print("{:<20} {:>8} {:>8} {:>10}\n", "pass", "before", "after", "µs");
  for (const Json& row : table) {
    fmt::print("{:<20} {:>8} {:>8} {:>10}\n", row["name"].get<std::string>(),
               row["nodes_before"].get<size_t>(), row["nodes_after"].get<size_t>(),
               row["microseconds"].get<int64_t>());
  }
}

ir::Bindings bindings_of(const runtime::Program& program, const Flags& flags) {
  ir::Bindings bindings;
  for (const std::string& symbol : program.symbols()) {
    bindings[symbol] = symbol == "s" ? flags.sequence : flags.batch_size;
  }
  return bindings;
}

Json memory_report(const plan::Plan& plan) {
  size_t constants = 0, states = 0;
  for (const ir::Value* constant : plan.graph.constants()) constants += constant->data.bytes();
  for (const ir::Value* state : plan.graph.states()) {
    states += static_cast<size_t>(numel(state->shape()).value()) * size_of(state->dtype());
  }
  return {{"constants_bytes", constants},    {"states_bytes", states},
          {"arena_bytes", plan.arena_bytes}, {"arena_lower_bound_bytes", lower_bound(plan.buffers)},
          {"buffers", plan.buffers.size()},  {"steps", plan.steps.size()}};
}

void print_memory(const Json& memory) {
  const auto megabytes = [&memory](const char* key) { return memory[key].get<double>() / 1e6; };
  fmt::print("constants {:>10.2f} MB\nstates    {:>10.2f} MB\n", megabytes("constants_bytes"),
             megabytes("states_bytes"));
  fmt::print("arena     {:>10.2f} MB for {} buffers (no plan can need less than {:.2f} MB)\n",
             megabytes("arena_bytes"), memory["buffers"].get<size_t>(),
             megabytes("arena_lower_bound_bytes"));
  fmt::print("steps     {:>10}\n", memory["steps"].get<size_t>());
}

Json kernel_report(const plan::Plan& plan) {
  std::map<std::string, size_t> counts;
  for (const plan::Step& step : plan.steps) ++counts[std::string(step.node->op->name)];
  return counts;
}

void run(const Flags& flags) {
  const EngineOptions engine = parse_settings(flags.settings);
  const auto source = runtime::Source::open(flags.model, model_options(flags));
  const runtime::Program program(
      source.forward(), device::get(flags.device),
      runtime::ProgramOptions{flags.mode, flags.threads, engine.passes_off});
  Json report = Json::object();
  if (flags.passes) report["passes"] = pass_report(program);
  if (flags.memory || flags.kernels) {
    const plan::Plan plan = program.plan(bindings_of(program, flags));
    if (flags.memory) report["memory"] = memory_report(plan);
    if (flags.kernels) report["kernels"] = kernel_report(plan);
  }
  if (report.empty()) report["graph"] = ir::print(program.graph());
  if (flags.json) {
    fmt::print("{}\n", report.dump(1));
    return;
  }
  if (report.contains("graph")) fmt::print("{}", report["graph"].get<std::string>());
  if (report.contains("memory")) print_memory(report["memory"]);
  if (report.contains("passes")) print_passes(report["passes"]);
  if (!report.contains("kernels")) return;
  for (const auto& [name, count] : report["kernels"].items()) {
    fmt::print("{:>6}  {}\n", count.get<size_t>(), name);
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
  verb->add_flag("--memory", flags->memory, "Constants, states, and the arena as planned");
  verb->add_flag("--kernels", flags->kernels, "How many launches of each operator");
  verb->add_option("--batch-size", flags->batch_size, "For --memory and --kernels")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  verb->add_option("--sequence", flags->sequence, "Tokens, for --memory and --kernels")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  verb->footer(
      "Examples:\n"
      "  ostinato inspect vit-base-patch16-224 > vit.graph\n"
      "  ostinato inspect vit-base-patch16-224 --memory --batch-size 8");
  verb->callback([flags] { run(*flags); });
}

}  // namespace ostinato::cli
