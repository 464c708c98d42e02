#include <fmt/format.h>

#include "ostinato/bench/report.h"

namespace ostinato::bench {

namespace {

double megabytes(const Json& bytes) { return bytes.get<double>() / 1e6; }

/// A percentile, or how many samples it would take.
std::string percentile(const Json& latency, const char* name, size_t needed) {
  if (latency.contains(name)) return fmt::format("{:.2f}", latency[name].get<double>());
  return fmt::format("n < {}", needed);
}

class Writer {
 public:
  explicit Writer(const Json& report) : report_(report) {}

  std::string run() {
    title();
    for (const Json& batch : report_["batches"]) write_batch(batch);
    if (report_.contains("generation")) generation();
    return std::move(text_);
  }

 private:
  template <typename... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    text_ += fmt::format(format, std::forward<Args>(args)...) + "\n";
  }

  static std::string str(const Json& value) {
    return value.is_string() ? value.get<std::string>() : value.dump();
  }

  void title() {
    const Json& model = report_["model"];
    const Json& machine = report_["machine"];
    const Json& actual = report_["actual"];
    line("# {}: {}\n", str(model["source"]), str(report_["verdict"]));
    line("{} with {:.1f} M parameters, weights {}, {} on {}.", str(model["family"]),
         model["parameters"].get<double>() / 1e6, str(actual["weights"]), str(actual["dtype"]),
         str(actual["device"]));
    line("Machine: {}, {}, {} cores, {} threads.\n", str(machine["cpu"]), str(machine["isa"]),
         str(machine["cores"]), str(machine["threads"]));
    for (const Json& note : report_["notes"]) line("> {}\n", str(note));
  }

  void write_batch(const Json& batch) {
    line("## Batch {}\n", str(batch["batch_size"]));
    for (const Json& input : batch["inputs"]) {
      line("- `{}` {}{} from {}", str(input["name"]), str(input["dtype"]), str(input["shape"]),
           str(input["origin"]));
    }
    line(
        "\n| lane | first call, ms | p50, ms | min | p95 | p99 | MAD | n | per s | peak RSS, MB |"
        " anonymous, MB | planned arena, MB |");
    line("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for (const auto& [name, lane] : batch["lanes"].items()) {
      const Json& latency = lane["latency_ms"];
      line(
          "| {} | {:.1f} | {:.2f} | {:.2f} | {} | {} | {:.2f} | {} | {:.2f} | {:.0f} | {:.0f} | {} "
          "|",
          name, lane["first_call_ms"].get<double>(), latency["p50"].get<double>(),
          latency["min"].get<double>(), percentile(latency, "p95", kSamplesForP95),
          percentile(latency, "p99", kSamplesForP99), latency["mad"].get<double>(),
          str(latency["n"]), lane["throughput_per_s"].get<double>(),
          megabytes(lane["peak_rss_bytes"]), megabytes(lane["peak_anonymous_bytes"]),
          lane.contains("planned_arena_bytes")
              ? fmt::format("{:.1f}", megabytes(lane["planned_arena_bytes"]))
              : "plans none");
    }
    accuracy(batch);
    for (const auto& [pair, speedup] : batch["speedup"].items()) {
      line("Speed-up {}: {}\n", pair,
           speedup.is_number() ? fmt::format("{:.2f}×", speedup.get<double>()) : str(speedup));
    }
  }

  void accuracy(const Json& batch) {
    if (!batch.contains("accuracy")) {
      line("\nAccuracy: not measured, it takes two lanes.\n");
      return;
    }
    line("\n| comparison | verdict | cosine | max abs | mean abs | max rel | top-1 |");
    line("|---|---|---|---|---|---|---|");
    for (const auto& [pair, a] : batch["accuracy"].items()) {
      line("| {} | {} | {:.8f} | {:.3g} | {:.3g} | {:.3g} | {} |", pair, str(a["verdict"]),
           a["cosine"].get<double>(), a["max_abs_diff"].get<double>(),
           a["mean_abs_diff"].get<double>(), a["max_rel_diff"].get<double>(),
           a.contains("top1_match_rate") ? fmt::format("{:.3f}", a["top1_match_rate"].get<double>())
                                         : "no logits");
    }
    line("");
  }

  void generation() {
    line("## Text generation, greedy, up to {} new tokens\n",
         str(report_["generation"]["max_new_tokens"]));
    line(
        "| prompt | lane | prompt tokens | new tokens | first token, ms | ms a token | tokens/s |"
        " flips from golden | margin at the first |");
    line("|---|---|---|---|---|---|---|---|---|");
    for (const Json& prompt : report_["generation"]["prompts"]) {
      for (const auto& [name, lane] : prompt["lanes"].items()) {
        const bool timed = !lane["ms_per_token"].is_null();
        line("| {} | {} | {} | {} | {:.1f} | {} | {} | {} | {} |", str(prompt["prompt"]), name,
             str(prompt["prompt_tokens"]), lane["tokens"].size(),
             lane["first_token_ms"].get<double>(),
             timed ? fmt::format("{:.2f}", lane["ms_per_token"].get<double>()) : "one token",
             timed ? fmt::format("{:.2f}", lane["tokens_per_s"].get<double>()) : "one token",
             lane.contains("flips") ? str(lane["flips"]) : "no golden lane", flip_margin(lane));
      }
    }
    line("");
  }

  static std::string flip_margin(const Json& lane) {
    if (!lane.contains("first_flip")) return "no golden lane";
    if (lane["first_flip"].is_null()) return "none";
    return fmt::format("{:.3g}", lane["first_flip"]["margin"].get<double>());
  }

  const Json& report_;
  std::string text_;
};

}  // namespace

std::string to_markdown(const Json& report) { return Writer(report).run(); }

}  // namespace ostinato::bench
