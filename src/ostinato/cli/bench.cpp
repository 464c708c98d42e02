#include "ostinato/bench/bench.h"

#include <exception>

#include "ostinato/base/error.h"
#include "ostinato/bench/report.h"
#include "ostinato/cli/cli.h"
#include "ostinato/cli/output.h"
#include "ostinato/cli/progress.h"

namespace ostinato::cli {

namespace {

struct Flags : CommonFlags {
  bench::BenchOptions bench;
  std::string output_dir;
};

/// Nothing where the flag was not given: the model's own.
std::optional<importer::WeightSource> wanted_weights(const CLI::App& verb, const Flags& flags) {
  if (verb.count("--weights") == 0) return std::nullopt;
  return model_options(flags).weights;
}

void run(const CLI::App& verb, const Flags& flags) {
  const EngineOptions engine = parse_settings(flags.settings);
  bench::BenchOptions options = flags.bench;
  options.model = flags.model;
  options.device = flags.device;
  options.dtype = flags.dtype;
  options.threads = flags.threads;
  options.weights = wanted_weights(verb, flags);
  options.seed = flags.seed;
  options.capture_limit = static_cast<size_t>(engine.capture_limit);
  options.passes_off = engine.passes_off;
  options.inputs = {flags.inputs, flags.images, flags.prompts, 0, flags.seed};
  if (!flags.output_dir.empty()) bench::prepare_report_folder(flags.output_dir);
  Json report;
  {
    ProgressBar bar;
    report =
        run_bench(options, [&bar](std::string_view what, double share) { bar.show(what, share); });
  }
  std::exception_ptr not_written;
  try {
    if (!flags.output_dir.empty()) bench::write_report(report, flags.output_dir);
  } catch (const Error&) {
    not_written = std::current_exception();  // what was measured is printed all the same
  }
  write_output(flags.json ? bench::to_text(report) : bench::to_markdown(report));
  flush_output();
  if (not_written) std::rethrow_exception(not_written);
  if (report["verdict"] == name_of(bench::Verdict::fail)) throw CLI::RuntimeError(1);
}

}  // namespace

void add_bench(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = app.add_subcommand(
      "bench", "Golden, eager and graph side by side: how right, how fast, how much memory");
  add_common_flags(*verb, *flags,
                   {"--device", "--dtype", "--threads", "--set", "--weights", "--seed", "--inputs",
                    "--image", "--prompt", "--json"});
  bench::BenchOptions& options = flags->bench;
  verb->add_option("--lanes", options.lanes,
                   "Of golden, eager, graph, eager-optimised, graph-unfused")
      ->delimiter(',')
      ->capture_default_str();
  verb->add_option("--batch-size", options.batch_sizes, "One or more, such as 1,4,8")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 20));
  verb->add_option("--warmup", options.warmup, "Calls before those that are timed")
      ->capture_default_str();
  verb->add_option("--iterations", options.iterations,
                   "Timed calls of a lane; golden, which is slow, stops after five seconds")
      ->capture_default_str();
  verb->add_option("--max-new-tokens", options.max_new_tokens, "Of each prompt")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  verb->add_flag("--strict", options.strict, "Fail the run when a node runs by a fallback");
  verb->add_option("--output-dir", flags->output_dir, "Write report.json and report.md there");
  verb->footer(
      "Exit code 1 when the graph lane, or the eager one, fails the accuracy gates.\n"
      "Examples:\n"
      "  ostinato bench vit-base-patch16-224 --image cat.jpg --batch-size 1,4,8 --output-dir out\n"
      "  ostinato bench qwen3-0.6b --prompt 'What is the capital of France?' --dtype bfloat16\n"
      "Which part of the gain is the passes' and which the replay's:\n"
      "  ostinato bench bert-base --lanes golden,eager,graph,eager-optimised,graph-unfused");
  verb->callback([flags, verb] { run(*verb, *flags); });
}

}  // namespace ostinato::cli
