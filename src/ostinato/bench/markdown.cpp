#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "ostinato/bench/lane.h"
#include "ostinato/bench/report.h"

namespace ostinato::bench {

namespace {

double megabytes(const Json& bytes) { return bytes.get<double>() / 1e6; }

std::string str(const Json& value) {
  return value.is_string() ? value.get<std::string>()
                           : value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// Text of the user's in a cell of a table: on one line and without bars.
std::string cell(const Json& value) {
  std::string text;
  for (const char c : str(value)) {
    if (c == '|') text += '\\';
    text += c == '\n' || c == '\r' ? ' ' : c;
  }
  return text;
}

/// Milliseconds, with more digits where they are few.
std::string ms(const Json& milliseconds) {
  const auto value = milliseconds.get<double>();
  return value < 1 ? fmt::format("{:.4f}", value) : fmt::format("{:.2f}", value);
}

/// A percentile; with too few samples the largest of them, and how many it would take.
std::string percentile(const Json& latency, const char* name, size_t needed) {
  if (latency.contains(name)) return ms(latency[name]);
  return fmt::format("max {}, n < {}", ms(latency["max"]), needed);
}

class Writer {
 public:
  explicit Writer(const Json& report) : report_(report) {}

  std::string run() {
    title();
    for (const Json& batch : report_["batches"]) write_batch(batch);
    if (report_.contains("generation")) generation(report_["generation"]);
    return std::move(text_);
  }

 private:
  template <typename... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    text_ += fmt::format(format, std::forward<Args>(args)...) + "\n";
  }

  /// Calls `row` for each lane, in the order in which they were asked for.
  template <typename Row>
  void each(const Json& lanes, const Row& row) const {
    for (const Json& name : report_["requested"]["mode"]) {
      const auto found = lanes.find(name.get<std::string>());
      if (found != lanes.end()) row(name.get<std::string>(), *found);
    }
  }

  void title() {
    const Json& model = report_["model"];
    const Json& machine = report_["machine"];
    const Json& actual = report_["actual"];
    line("# {}: {}\n", str(model["source"]),
         report_["verdict"].is_null() ? "no verdict" : str(report_["verdict"]));
    line("{} with {:.1f} M parameters, weights {}, {} on {}.\n", str(model["family"]),
         model["parameters"].get<double>() / 1e6, str(actual["weights"]), str(actual["dtype"]),
         str(actual["device"]));
    std::string versions;
    for (const auto& [name, version] : machine["versions"].items()) {
      versions += fmt::format("{}{} {}", versions.empty() ? "" : ", ", name, str(version));
    }
    line("Machine: {}, {}, {} threads on the processors {} of {}, governor {}; {}.\n",
         str(machine["cpu"]), str(machine["isa"]), str(machine["threads"]),
         str(machine["affinity"]), str(machine["cores"]),
         machine["governor"].is_null() ? "not readable" : str(machine["governor"]), versions);
    for (const Json& note : report_["notes"]) line("> {}\n", cell(note));
  }

  void write_batch(const Json& batch) {
    line("## Batch {}\n", str(batch["batch_size"]));
    for (const Json& input : batch["inputs"]) {
      line("- `{}` {}{} from {}", str(input["name"]), str(input["dtype"]), str(input["shape"]),
           str(input["origin"]));
    }
    latency(batch["lanes"]);
    first_call("First call", batch["lanes"]);
    memory(batch["lanes"]);
    accuracy(batch);
    for (const auto& [pair, speedup] : batch["speedup"].items()) {
      line("Speed-up {}: {}\n", pair,
           speedup.is_number() ? fmt::format("{:.2f}×", speedup.get<double>()) : str(speedup));
    }
    if (batch.contains("gain")) gain(batch);
  }

  void latency(const Json& lanes) {
    line(
        "\n| lane | dtype | p50, ms | p95 | p99 | mean ± std | min | MAD | n | ms a sample |"
        " samples/s |");
    line("|---|---|---|---|---|---|---|---|---|---|---|");
    each(lanes, [this](const std::string& name, const Json& lane) {
      const Json& l = lane["latency_ms"];
      line("| {} | {} | {} | {} | {} | {} ± {} | {} | {} | {} | {} | {:.2f} |", name,
           str(lane["dtype"]), ms(l["p50"]), percentile(l, "p95", kSamplesForP95),
           percentile(l, "p99", kSamplesForP99), ms(l["mean"]), ms(l["std"]), ms(l["min"]),
           ms(l["mad"]), str(l["n"]), ms(lane["per_sample_ms"]),
           lane["throughput_per_s"].get<double>());
    });
  }

  void first_call(std::string_view title, const Json& lanes) {
    std::vector<const char*> names = {"import", "passes", "plan", "pack", "capture", "run"};
    const bool traces = std::any_of(lanes.begin(), lanes.end(), [](const Json& lane) {
      return lane["phases_ms"].contains("trace");
    });
    if (traces) names.insert(names.begin() + 1, "trace");
    line("\n| {}, ms | all | {} |", title, fmt::join(names, " | "));
    line("|---|---|{}", fmt::join(std::vector<std::string>(names.size(), "---|"), ""));
    each(lanes, [&](const std::string& name, const Json& lane) {
      std::string phases;
      for (const char* phase : names) {
        phases += fmt::format(" {:.1f} |", lane["phases_ms"][phase].get<double>());
      }
      line("| {} | {:.1f} |{}", name, lane["first_call_ms"].get<double>(), phases);
    });
  }

  void memory(const Json& lanes) {
    line("\n| memory, MB | peak RSS | peak anonymous | packed weights | planned arena |");
    line("|---|---|---|---|---|");
    each(lanes, [this](const std::string& name, const Json& lane) {
      const auto part = [&lane](const char* key, const char* otherwise) {
        return lane.contains(key) ? fmt::format("{:.1f}", megabytes(lane[key])) : otherwise;
      };
      line("| {} | {:.1f} | {:.1f} | {} | {} |", name, megabytes(lane["peak_rss_bytes"]),
           megabytes(lane["peak_anonymous_bytes"]), part("packed_weight_bytes", "not told"),
           part("planned_arena_bytes", "plans none"));
    });
    each(lanes, [this](const std::string& name, const Json& lane) {
      for (const Json& fallback : lane["fallbacks"]) {
        line("\nFallback in {}, `{}`: {}. {}", name, str(fallback["node"]), str(fallback["reason"]),
             str(fallback["remedy"]));
      }
    });
  }

  void accuracy(const Json& batch) {
    if (!batch.contains("accuracy")) {
      line("\nAccuracy: not measured, it takes golden and another lane, or eager and graph.\n");
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

  /// The 2×2, and which part of the gain is whose.
  void gain(const Json& batch) {
    const auto p50 = [&batch](std::string_view lane) {
      return batch["lanes"][lane]["latency_ms"]["p50"];
    };
    const auto ratio = [&batch](const char* name) { return batch["gain"][name].get<double>(); };
    line("| p50, ms | op by op | replay | gain of replay |");
    line("|---|---|---|---|");
    line("| unfused | {} | {} | {:.2f}× |", ms(p50(kEager)), ms(p50(kGraphUnfused)),
         ratio("replay_unfused"));
    line("| optimised | {} | {} | {:.2f}× |", ms(p50(kEagerOptimised)), ms(p50(kGraph)),
         ratio("replay_optimised"));
    line("| gain of the passes | {:.2f}× | {:.2f}× | |\n", ratio("passes_op_by_op"),
         ratio("passes_replayed"));
    line(
        "Of graph's {:.2f}× over eager, the passes are {:.2f}× and the replay {:.2f}× "
        "(geometric means over both rows and columns; their product is the whole).\n",
        ratio("passes") * ratio("replay"), ratio("passes"), ratio("replay"));
  }

  void generation(const Json& generation) {
    line("## Text generation, greedy, up to {} new tokens\n", str(generation["max_new_tokens"]));
    line(
        "| prompt | lane | prompt tokens | new tokens | first token, ms | ms a token | tokens/s |"
        " flips from golden | margin at the first |");
    line("|---|---|---|---|---|---|---|---|---|");
    for (const Json& prompt : generation["prompts"]) {
      each(prompt["lanes"], [&](const std::string& name, const Json& lane) {
        const bool timed = !lane["ms_per_token"].is_null();
        line("| {} | {} | {} | {} | {:.1f} | {} | {} | {} | {} |", cell(prompt["prompt"]), name,
             str(prompt["prompt_tokens"]), lane["tokens"].size(),
             lane["first_token_ms"].get<double>(),
             timed ? fmt::format("{:.2f}", lane["ms_per_token"].get<double>()) : "one token",
             timed ? fmt::format("{:.2f}", lane["tokens_per_s"].get<double>()) : "one token",
             lane.contains("flips") ? str(lane["flips"]) : "no golden lane", flip_margin(lane));
      });
    }
    for (const Json& prompt : generation["prompts"]) {
      each(prompt["lanes"], [&](const std::string& name, const Json& lane) {
        if (!lane.contains("decode_step")) return;
        line("\nA step of {} for \"{}\": {}.", name, cell(prompt["prompt"]),
             cell(lane["decode_step"]));
      });
      first_call(fmt::format("First call for \"{}\"", cell(prompt["prompt"])), prompt["lanes"]);
    }
    perplexity(generation["perplexity"]);
  }

  static std::string flip_margin(const Json& lane) {
    if (!lane.contains("first_flip")) return "no golden lane";
    if (lane["first_flip"].is_null()) return "none";
    return fmt::format("{:.3g}", lane["first_flip"]["margin"].get<double>());
  }

  void perplexity(const Json& perplexity) {
    line("\n| lane | perplexity of a fixed text of {} tokens | relative to golden |",
         str(perplexity["tokens"]));
    line("|---|---|---|");
    const bool has_golden = perplexity["lanes"].contains(kGolden);
    each(perplexity["lanes"], [&](const std::string& name, const Json& lane) {
      const Json& value = lane["perplexity"];
      line("| {} | {} | {} |", name,
           value.is_null() ? "not finite" : fmt::format("{:.4f}", value.get<double>()),
           lane.contains("ppl_rel_diff") ? fmt::format("{:.2e}", lane["ppl_rel_diff"].get<double>())
           : name == kGolden             ? "is golden"
           : has_golden                  ? "not finite"
                                         : "no golden lane");
    });
  }

  const Json& report_;
  std::string text_;
};

}  // namespace

std::string to_markdown(const Json& report) { return Writer(report).run(); }

}  // namespace ostinato::bench
