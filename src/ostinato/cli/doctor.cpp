#include <unistd.h>

#include <cstdlib>
#include <functional>

#include "ostinato/base/error.h"
#include "ostinato/base/json.h"
#include "ostinato/base/threads.h"
#include "ostinato/cli/cli.h"
#include "ostinato/cli/output.h"
#include "ostinato/device/device.h"
#include "ostinato/ir/builder.h"
#include "ostinato/ops/ops.h"
#include "ostinato/runtime/context.h"

namespace ostinato::cli {

namespace {

/// One thing that was looked at; `problem` is empty when it is as it should be.
struct Finding {
  std::string name, value, problem;
};

Finding check_threads() {
  const int threads = default_threads();
  const auto processors = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  return {"threads", fmt::format("{} of {} processors", threads, processors),
          threads > processors ? "more threads than processors: unset OSTINATO_THREADS" : ""};
}

/// A small graph through all three executors: products, softmax and a sum that must agree.
Finding check_executors(device::Device& device) {
  const auto run = [&device](runtime::Mode mode) {
    ir::Graph graph;
    ir::Builder build(graph, ops::table());
    ir::Value* x = graph.add_input("x", {DType::float32, {64, 64}});
    ir::Value* product = build("aten.mm", {x, x});
    graph.add_output("y", build("aten._softmax", {product}, {{"dim", -1}}));
    runtime::Context context(std::make_shared<const runtime::Program>(
        std::move(graph), device, runtime::ProgramOptions{mode, default_threads(), {}}));
    Tensor input = Tensor::empty(DType::float32, {64, 64});
    for (int i = 0; i < 64 * 64; ++i) {
      input.as<float>()[i] = static_cast<float>(i % 17) / 17.0f - 0.5f;
    }
    return context.run({{input}})[0];
  };
  const Tensor golden = run(runtime::Mode::reference);
  double worst = 0;
  for (const auto mode : {runtime::Mode::eager, runtime::Mode::graph}) {
    const Tensor got = run(mode);
    for (int64_t i = 0; i < golden.numel(); ++i) {
      worst = std::max<double>(worst, std::abs(got.as<float>()[i] - golden.as<float>()[i]));
    }
  }
  return {
      "executors", fmt::format("eager and graph differ from reference by {:.1g}", worst),
      worst < 1e-5 ? "" : "the kernels of this ISA are wrong here: report it, with OSTINATO_ISA"};
}

Finding guarded(const std::string& name, const std::function<Finding()>& check) {
  try {
    return check();
  } catch (const Error& error) {
    return {name, "failed", error.what()};
  }
}

void run(bool json) {
  device::Device& cpu = device::get("cpu");
  const device::Properties properties = cpu.properties();
  std::vector<Finding> findings = {
      {"version", OSTINATO_VERSION, ""},
      {"processor", properties.name, ""},
      {"isa", properties.isa, ""},
      {"memory",
       fmt::format("{:.1f} GiB", static_cast<double>(properties.memory_bytes) / (1 << 30)), ""}};
  for (const auto& [library, version] : device::versions()) {
    findings.push_back({library, version, ""});
  }
  findings.push_back(guarded("threads", check_threads));
  findings.push_back(guarded("executors", [&cpu] { return check_executors(cpu); }));
  bool healthy = true;
  Json table = Json::array();
  for (const Finding& finding : findings) {
    healthy = healthy && finding.problem.empty();
    table.push_back(
        {{"name", finding.name}, {"value", finding.value}, {"problem", finding.problem}});
    if (json) continue;
    output("{} {:<16} {}\n", finding.problem.empty() ? "✓" : "✗", finding.name, finding.value);
    if (!finding.problem.empty()) output("  {:<16} {}\n", "", finding.problem);
  }
  if (json) output("{}\n", dump(table, 1));
  if (!healthy) throw CLI::RuntimeError(1);
}

}  // namespace

void add_doctor(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  CLI::App* verb = app.add_subcommand(
      "doctor", "The machine, its libraries, and whether the executors agree on it");
  verb->add_flag("--json", *json, "Print JSON instead of a table");
  verb->footer("Exit code 1 when something is wrong.\nExample:\n  ostinato doctor");
  verb->callback([json] { run(*json); });
}

}  // namespace ostinato::cli
