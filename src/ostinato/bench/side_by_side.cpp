#include "ostinato/bench/side_by_side.h"

#include <algorithm>
#include <array>
#include <limits>

#include "ostinato/base/error.h"
#include "ostinato/bench/lane.h"
#include "ostinato/bench/report.h"

namespace ostinato::bench {

namespace {

constexpr int kRounds = 5;                 // that the timed calls of the lanes are spread over
constexpr double kGoldenBudgetMs = 5'000;  // of golden's timed calls: it may be slow by design
constexpr double kNoBudget = std::numeric_limits<double>::max();

/// A lane that PyTorch runs is there to compare with: it is not judged.
bool is_ours(std::string_view lane) { return lane != kTorch && lane != kInductor; }

double run_ms(const Json& figures) { return figures["phases_ms"]["run"].get<double>(); }

double median_of(const Json& lanes, std::string_view lane) {
  return lanes[lane]["latency_ms"]["p50"].get<double>();
}

void finish(MeasuredLane& lane, int64_t batch, Json& figures) {
  const Latency latency = summarise(figures["samples_ms"].get<std::vector<double>>());
  const auto size = static_cast<double>(batch);
  figures["latency_ms"] = to_json(latency);
  figures["per_sample_ms"] = latency.p50 / size;
  figures["throughput_per_s"] = 1e3 * size / latency.p50;
  figures.update(lane.memory());
}

/// A ratio of medians, or in words why there is none.
Json speedup_of(const Json& lanes, std::string_view base) {
  const std::string_view missing = !lanes.contains(kGraph) ? kGraph : base;
  if (!lanes.contains(missing)) return fmt::format("none: the lane {} did not run", missing);
  const Json &ours = lanes[kGraph]["dtype"], &theirs = lanes[base]["dtype"];
  if (ours != theirs) {
    return fmt::format("none: {} ran in {}, graph in {}", base, theirs.get<std::string>(),
                       ours.get<std::string>());
  }
  return median_of(lanes, base) / median_of(lanes, kGraph);
}

void compare_speed(Json& result) {
  const Json& lanes = result["lanes"];
  const auto ran = [&lanes](std::string_view lane) { return lanes.contains(lane); };
  for (const std::string_view base : {kEager, kGolden, kTorch, kInductor}) {
    if (!is_ours(base) && !ran(base)) continue;
    result["speedup"][fmt::format("graph_vs_{}", base)] = speedup_of(lanes, base);
  }
  if (ran(kEager) && ran(kGraph) && ran(kEagerOptimised) && ran(kGraphUnfused)) {
    result["gain"] = to_json(gain_of({median_of(lanes, kEager), median_of(lanes, kEagerOptimised),
                                      median_of(lanes, kGraphUnfused), median_of(lanes, kGraph)}));
  }
}

}  // namespace

void require_as_asked(std::string_view lane, const Json& asked, const Json& done) {
  for (const auto& [key, value] : asked.items()) {
    if (done.at(key) == value) continue;
    // Which GPU `cuda` is, the lane says.
    if (value == "cuda" && done.at(key).get<std::string>().starts_with("cuda:")) continue;
    fail(ErrorCode::internal, "bench/lane", "Report this as a defect.",
         "expected the lane {} to run with the {} {}, got {}", lane, key, value.dump(),
         done.at(key).dump());
  }
}

void check(const Schedule& schedule) {
  if (schedule.iterations >= 1 && schedule.warmup >= 0) return;
  fail(ErrorCode::invalid_argument, "bench", "Ask for at least one timed call.",
       "expected iterations ≥ 1 and warmup ≥ 0, got {} and {}", schedule.iterations,
       schedule.warmup);
}

SideBySide::SideBySide(std::vector<Entry> lanes, Schedule schedule,
                       std::function<void(const std::string&)> step)
    : lanes_(std::move(lanes)), schedule_(schedule), step_(std::move(step)) {
  check(schedule_);
}

size_t SideBySide::steps_per_batch() const { return kRounds + lanes_.size(); }

void SideBySide::note(std::string text) {
  if (std::find(notes_.begin(), notes_.end(), text) == notes_.end()) {
    notes_.push_back(std::move(text));
  }
}

void SideBySide::fail_with(std::string text) {
  note(std::move(text));
  verdict_ = Verdict::fail;
}

void SideBySide::note_conditions(const Conditions& conditions) {
  note(
      fmt::format("The device {} is synchronous: a latency is the whole call from end to end, "
                  "and there is no other host-submit or device time.",
                  conditions.device));
  if (conditions.weights == "random") {
    note(
        "The weights are random: valid for comparing lanes and for timing; the outputs mean "
        "nothing.");
  }
  if (static_cast<size_t>(conditions.threads) > conditions.processors.size()) {
    note(fmt::format("{} threads share {} processors: the times say little.", conditions.threads,
                     conditions.processors.size()));
  }
}

/// What a lane ran as must be what it was asked for; the report's `actual` is made of it.
void SideBySide::take_actual(const Entry& entry, const Json& figures) {
  const std::string_view name = entry.lane->name();
  require_as_asked(name, entry.asked, figures);
  Json& names = actual_["mode"];
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  for (const char* key : {"device", "dtype", "threads", "weights"}) {
    // Golden is the CPU's float32 whatever was asked: it counts where there is no other lane.
    if (name != kGolden || lanes_.size() == 1) actual_[key] = figures.at(key);
  }
}

void SideBySide::take_fallbacks(std::string_view lane, const Json& fallbacks) {
  if (fallbacks.empty() || !schedule_.strict) return;
  fail_with(fmt::format("--strict: {} ran {} of its nodes by a fallback, {} first.", lane,
                        fallbacks.size(), fallbacks[0]["node"].get<std::string>()));
}

void SideBySide::run_batch(const Batch& batch) {
  Json result = {{"batch_size", batch.size}, {"inputs", batch.described}};
  std::vector<std::pair<std::string_view, NamedTensors>> outputs;
  for (const Entry& entry : lanes_) {
    MeasuredLane& lane = *entry.lane;
    step_(fmt::format("batch {}: first call of {}", batch.size, lane.name()));
    Json& figures = result["lanes"][lane.name()];
    figures = lane.first_call(batch.inputs);
    take_actual(entry, figures);
    take_fallbacks(lane.name(), figures["fallbacks"]);
    outputs.emplace_back(lane.name(), lane.outputs());
    const bool fits = static_cast<double>(schedule_.warmup) * run_ms(figures) < kGoldenBudgetMs;
    if (lane.name() != kGolden || fits) lane.warm_up(schedule_.warmup);
  }
  time_in_turns(batch.size, result["lanes"]);
  for (const Entry& entry : lanes_) {
    finish(*entry.lane, batch.size, result["lanes"][entry.lane->name()]);
  }
  compare_lanes(outputs, result);
  compare_speed(result);
  batches_.push_back(std::move(result));
}

void SideBySide::time_in_turns(int64_t batch, Json& lanes) {
  double golden_left_ms = kGoldenBudgetMs;
  for (int round = 0; round < kRounds; ++round) {
    step_(fmt::format("batch {}: round {} of {}", batch, round + 1, kRounds));
    const int64_t share =
        schedule_.iterations / kRounds + (round < schedule_.iterations % kRounds ? 1 : 0);
    for (const Entry& entry : lanes_) {
      MeasuredLane& lane = *entry.lane;
      Json& figures = lanes[lane.name()];
      Json& samples = figures["samples_ms"];
      if (round == 0) samples = Json::array();
      if (share == 0) continue;
      double budget_ms = kNoBudget;
      if (lane.name() == kGolden) {
        if (run_ms(figures) > kGoldenBudgetMs) {
          if (round == 0) samples.push_back(run_ms(figures));
          continue;
        }
        if (round > 0 && golden_left_ms < run_ms(figures)) continue;
        budget_ms = golden_left_ms / (kRounds - round);
      }
      const Json timed = lane.time(share, budget_ms);
      for (const Json& sample : timed["samples_ms"]) {
        samples.push_back(sample);
        if (lane.name() == kGolden) golden_left_ms -= sample.get<double>();
      }
    }
  }
}

void SideBySide::compare_lanes(
    const std::vector<std::pair<std::string_view, NamedTensors>>& outputs, Json& result) {
  const auto of = [&outputs](std::string_view lane) -> const NamedTensors* {
    for (const auto& [name, tensors] : outputs) {
      if (name == lane) return &tensors;
    }
    return nullptr;
  };
  const auto compare_pair = [&](std::string_view candidate, std::string_view base) {
    if (of(candidate) == nullptr || of(base) == nullptr) return;
    const Accuracy accuracy = compare(*of(base), *of(candidate));
    result["accuracy"][fmt::format("{}_vs_{}", candidate, base)] = to_json(accuracy);
    // Golden judges; without it, eager judges graph.
    if (!is_ours(candidate) || !is_ours(base)) return;
    if (base != kGolden && of(kGolden) != nullptr) return;
    verdict_ = worse(verdict_.value_or(Verdict::pass), accuracy.overall.verdict);
  };
  for (const auto& [name, tensors] : outputs) {
    if (name != kGolden) compare_pair(name, kGolden);
  }
  compare_pair(kGraph, kEager);
  compare_pair(kGraph, kTorch);
  if (result.contains("accuracy")) explain(result);
}

/// Of a graph lane that fails: whether it is the dtype's rounding or a defect.
void SideBySide::explain(const Json& result) {
  const Json& accuracy = result["accuracy"];
  if (!accuracy.contains("graph_vs_golden") || !accuracy.contains("graph_vs_eager") ||
      accuracy["graph_vs_golden"]["verdict"] != name_of(Verdict::fail)) {
    return;
  }
  const bool agrees = accuracy["graph_vs_eager"]["verdict"] != name_of(Verdict::fail);
  note(fmt::format("Batch {}: graph fails against golden and {}.",
                   result["batch_size"].get<int64_t>(),
                   agrees ? "agrees with eager: what differs is the rounding of the dtype"
                          : "differs from eager too: a defect of graph mode"));
}

Json SideBySide::report(Json header) {
  if (!verdict_) note("No verdict: it takes golden and another lane, or eager and graph.");
  header["schema"] = 1;
  header["batches"] = batches_;
  header["actual"] = actual_;
  header["actual"]["seed"] = header.at("requested").at("seed");
  header["notes"] = notes_;
  header["verdict"] = verdict_ ? Json(name_of(*verdict_)) : Json(nullptr);
  return header;
}

}  // namespace ostinato::bench
