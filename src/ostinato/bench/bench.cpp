#include "ostinato/bench/bench.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>

#include "ostinato/base/error.h"
#include "ostinato/bench/generation.h"
#include "ostinato/bench/lane_process.h"
#include "ostinato/bench/processors.h"
#include "ostinato/bench/report.h"

namespace ostinato::bench {

namespace {

using importer::WeightSource;

constexpr std::string_view kStage = "bench";
constexpr int kRounds = 5;                 // that the timed calls of the lanes are spread over
constexpr double kGoldenBudgetMs = 5'000;  // of golden's timed calls: it is slow by design
constexpr double kNoBudget = std::numeric_limits<double>::max();

template <typename T>
bool are_distinct(const std::vector<T>& values) {
  return std::set<T>(values.begin(), values.end()).size() == values.size();
}

void check(const BenchOptions& options) {
  for (const std::string& name : options.lanes) lane_kind(name);
  if (options.lanes.empty() || !are_distinct(options.lanes)) {
    fail(ErrorCode::invalid_argument, kStage, "Name each lane once.",
         "expected different lanes, got '{}'", fmt::join(options.lanes, ","));
  }
  const auto& sizes = options.batch_sizes;
  const bool positive = std::all_of(sizes.begin(), sizes.end(), [](int64_t n) { return n > 0; });
  if (sizes.empty() || !positive || !are_distinct(sizes)) {
    fail(ErrorCode::invalid_argument, kStage, "Give --batch-size each size once, such as 1,4,8.",
         "expected different batch sizes of at least 1, got {}", fmt::join(sizes, ","));
  }
  if (options.iterations < 1 || options.warmup < 0) {
    fail(ErrorCode::invalid_argument, kStage, "Ask for at least one timed call.",
         "expected iterations ≥ 1 and warmup ≥ 0, got {} and {}", options.iterations,
         options.warmup);
  }
  if (device::get(options.device).name() == "null") {
    fail(ErrorCode::invalid_argument, kStage, "Use --device cpu.",
         "expected a device that computes, got the null device");
  }
  if (options.lanes == std::vector<std::string>{std::string(kGolden)} &&
      options.dtype.value_or(DType::float32) != DType::float32) {
    fail(ErrorCode::invalid_argument, kStage, "Add another lane, or leave --dtype out.",
         "golden runs in float32, and it is the only lane");
  }
}

class Bench {
 public:
  Bench(const BenchOptions& options, const Progress& progress)
      : options_(options), progress_(progress) {
    check(options_);
    processors_ = choose_processors(allowed_processors(), options_.threads, core_of);
    // Before anything starts a thread in this process: the lanes are forked.
    for (const std::string& name : options_.lanes) lanes_.emplace_back(spec(lane_kind(name)));
    source_ =
        runtime::Source::open(options_.model, {std::nullopt, weights_to_load(), options_.seed});
    check_model();
    const bool only_golden = lanes_.size() == 1 && lanes_[0].name() == kGolden;
    dtype_ = options_.dtype.value_or(only_golden ? DType::float32 : source_->dtype());
    if (source_->model() && source_->model()->generates() && !options_.inputs.texts.empty()) {
      if (only_golden) {
        note("No text was generated: it takes a lane other than golden.");
      } else {
        generation_.emplace(options_, *source_);
      }
    }
  }

  Json run() {
    steps_ = static_cast<double>(options_.batch_sizes.size() * (kRounds + lanes_.size()) +
                                 (generation_ ? generation_->steps(lanes_.size()) : 0));
    note_conditions();
    Json report = header();
    for (int64_t batch : options_.batch_sizes) report["batches"].push_back(run_batch(batch));
    if (generation_) {
      report["generation"] =
          generation_->run(lanes_, [this](const std::string& what) { step(what); });
      for (const std::string& failure : generation_->failures()) {
        note(failure);
        verdict_ = Verdict::fail;
      }
    }
    if (!verdict_) note("No verdict: it takes golden and another lane, or eager and graph.");
    report["model"]["inputs"] = model_inputs_;
    report["actual"] = actual_;
    report["notes"] = notes_;
    report["verdict"] = verdict_ ? Json(name_of(*verdict_)) : Json(nullptr);
    return report;
  }

 private:
  WeightSource weights_to_load() const {
    return options_.weights.value_or(WeightSource::pretrained);
  }

  LaneSpec spec(const LaneKind& kind) const {
    LaneSpec spec;
    spec.kind = kind;
    spec.model = options_.model;
    spec.threads = options_.threads;
    spec.processors = processors_;
    spec.weights = weights_to_load();
    spec.seed = options_.seed;
    spec.capture_limit = options_.capture_limit;
    spec.passes_off = options_.passes_off;
    spec.device = kind.name == kGolden ? "cpu" : options_.device;
    spec.dtype = kind.name == kGolden ? DType::float32 : options_.dtype;
    return spec;
  }

  void check_model() const {
    if (options_.weights == WeightSource::pretrained &&
        source_->weights() == WeightSource::random) {
      fail(ErrorCode::invalid_argument, kStage,
           "Give a folder with trained weights; or leave --weights out, and the report will call "
           "them random.",
           "expected pretrained weights in {}, got the random ones of `ostinato new-model`",
           options_.model);
    }
    if (source_->model()) return;
    if (options_.weights == WeightSource::random ||
        options_.dtype.value_or(source_->dtype()) != source_->dtype()) {
      fail(ErrorCode::invalid_argument, kStage, "Leave --weights and --dtype out.",
           "{} is graph text, which says its dtypes ({}) and has its constants beside it",
           options_.model, ostinato::name_of(source_->dtype()));
    }
  }

  /// Once, though every batch may come to say it.
  void note(std::string text) {
    if (std::find(notes_.begin(), notes_.end(), text) == notes_.end()) {
      notes_.push_back(std::move(text));
    }
  }

  void note_conditions() {
    note(
        fmt::format("The device {} is synchronous: a latency is the whole call from end to end, "
                    "and there is no other host-submit or device time.",
                    options_.device));
    if (source_->weights() == WeightSource::random) {
      note(
          "The weights are random: valid for comparing lanes and for timing; the outputs mean "
          "nothing.");
    }
    const auto& model = source_->model();
    if (model && model->family() == "vit" && model->labels().empty()) {
      note(fmt::format("{} has no classifier head: its outputs are features and name no class.",
                       model->architecture()));
    }
    if (generation_ && options_.inputs.texts.size() > 1) {
      note("The batches read the first prompt; all prompts are continued below.");
    }
    if (static_cast<size_t>(options_.threads) > processors_.size()) {
      note(fmt::format("{} threads share {} processors: the times say little.", options_.threads,
                       processors_.size()));
    }
  }

  Json header() const {
    const Json requested = {{"weights", name_of(options_.weights.value_or(source_->weights()))},
                            {"device", options_.device},
                            {"dtype", ostinato::name_of(dtype_)},
                            {"mode", options_.lanes},
                            {"threads", options_.threads},
                            {"seed", options_.seed}};
    return {{"schema", 1},
            {"requested", requested},
            {"machine", machine_line(options_.device, options_.threads, processors_)},
            {"batches", Json::array()},
            {"model",
             {{"source", options_.model},
              {"family", source_->family()},
              {"parameters", source_->parameter_count()}}}};
  }

  /// What a lane ran as must be what it was asked for; the report's `actual` is made of it.
  void take_actual(const LaneProcess& lane, const Json& figures) {
    const LaneSpec& spec = lane.spec();
    // Graph text says its own dtypes, for golden too.
    const DType dtype = spec.kind.name == kGolden && source_->model() ? DType::float32 : dtype_;
    require_as_asked(lane.name(),
                     {{"device", spec.device},
                      {"dtype", ostinato::name_of(dtype)},
                      {"mode", runtime::name_of(spec.kind.mode)},
                      {"threads", spec.threads},
                      {"weights", name_of(source_->weights())}},
                     figures);
    Json& names = actual_["mode"];
    if (std::find(names.begin(), names.end(), lane.name()) == names.end()) {
      names.push_back(lane.name());
    }
    actual_["seed"] = options_.seed;
    for (const char* key : {"device", "dtype", "threads", "weights"}) {
      // Golden is the CPU's float32 whatever was asked: it counts where there is no other lane.
      if (lane.name() != kGolden || lanes_.size() == 1) actual_[key] = figures.at(key);
    }
  }

  /// A batch has no place for more pictures or texts than its size.
  void take_first(int64_t batch, std::vector<std::string>& given, std::string_view what) {
    const auto most = static_cast<size_t>(batch);
    if (given.size() <= most) return;
    note(fmt::format("Batch {} takes the first {} of the {} {}.", batch, most, given.size(), what));
    given.resize(most);
  }

  /// The inputs of a batch; describes them, and with their symbolic sizes the model's.
  NamedTensors resolve(int64_t batch, Json& described) {
    runtime::InputRequest request = options_.inputs;
    request.batch_size = batch;
    if (generation_) request.texts.resize(1);  // of different lengths, and there is no mask
    take_first(batch, request.pictures, "pictures");
    take_first(batch, request.texts, "texts");
    const ir::Graph graph = source_->forward();
    NamedTensors inputs;
    std::vector<std::vector<int64_t>> shapes;
    described = Json::array();
    model_inputs_ = Json::array();
    for (const runtime::NamedInput& input : resolve_inputs(*source_, graph, request)) {
      const ir::Value& value = *graph.inputs()[inputs.size()];
      Json symbolic = Json::array();
      for (const ir::Dim& dim : value.shape()) {
        symbolic.push_back(dim.is_constant() ? Json(dim.value()) : Json(dim.str()));
      }
      const auto describe = [&](Json shape) -> Json {
        return {{"name", input.name},
                {"shape", std::move(shape)},
                {"dtype", ostinato::name_of(value.dtype())},
                {"origin", input.origin}};
      };
      described.push_back(describe(input.tensor.shape()));
      model_inputs_.push_back(describe(std::move(symbolic)));
      shapes.push_back(input.tensor.shape());
      inputs.emplace_back(input.name, input.tensor);
    }
    const ir::Bindings sizes = bind_inputs(graph, shapes);
    const auto given = sizes.find("b");
    if (given != sizes.end() && given->second != batch) {
      fail(ErrorCode::invalid_argument, kStage, fmt::format("Give --batch-size {}.", given->second),
           "expected inputs of batch {}, got {}", batch, given->second);
    }
    return inputs;
  }

  Json run_batch(int64_t batch) {
    Json result = {{"batch_size", batch}};
    const NamedTensors inputs = resolve(batch, result["inputs"]);
    std::map<std::string_view, NamedTensors> outputs;
    for (LaneProcess& lane : lanes_) {
      step(fmt::format("batch {}: first call of {}", batch, lane.name()));
      Json& figures = result["lanes"][lane.name()];
      figures = lane.first_call(inputs);
      take_actual(lane, figures);
      take_fallbacks(lane, figures["fallbacks"]);
      outputs[lane.name()] = lane.outputs();
      const bool fits = static_cast<double>(options_.warmup) * run_ms(figures) < kGoldenBudgetMs;
      if (lane.name() != kGolden || fits) lane.warm_up(options_.warmup);
    }
    time_in_turns(batch, result["lanes"]);
    for (LaneProcess& lane : lanes_) finish(lane, batch, result["lanes"][lane.name()]);
    compare_lanes(outputs, result);
    compare_speed(result);
    return result;
  }

  void take_fallbacks(const LaneProcess& lane, const Json& fallbacks) {
    if (fallbacks.empty() || !options_.strict) return;
    note(fmt::format("--strict: {} ran {} of its nodes by a fallback, {} first.", lane.name(),
                     fallbacks.size(), fallbacks[0]["node"].get<std::string>()));
    verdict_ = Verdict::fail;
  }

  static double run_ms(const Json& figures) { return figures["phases_ms"]["run"].get<double>(); }

  void time_in_turns(int64_t batch, Json& lanes) {
    double golden_left_ms = kGoldenBudgetMs;
    for (int round = 0; round < kRounds; ++round) {
      step(fmt::format("batch {}: round {} of {}", batch, round + 1, kRounds));
      const int64_t share =
          options_.iterations / kRounds + (round < options_.iterations % kRounds ? 1 : 0);
      for (LaneProcess& lane : lanes_) {
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

  static void finish(LaneProcess& lane, int64_t batch, Json& figures) {
    const Latency latency = summarise(figures["samples_ms"].get<std::vector<double>>());
    const auto size = static_cast<double>(batch);
    figures["latency_ms"] = to_json(latency);
    figures["per_sample_ms"] = latency.p50 / size;
    figures["throughput_per_s"] = 1e3 * size / latency.p50;
    figures.update(lane.memory());
  }

  void compare_lanes(const std::map<std::string_view, NamedTensors>& outputs, Json& result) {
    const auto compare_pair = [&](std::string_view candidate, std::string_view base) {
      if (outputs.count(candidate) == 0 || outputs.count(base) == 0) return;
      const Accuracy accuracy = compare(outputs.at(base), outputs.at(candidate));
      result["accuracy"][fmt::format("{}_vs_{}", candidate, base)] = to_json(accuracy);
      // Golden judges; without it, eager judges graph.
      if (base != kGolden && outputs.count(kGolden) > 0) return;
      verdict_ = worse(verdict_.value_or(Verdict::pass), accuracy.overall.verdict);
    };
    for (const LaneKind& kind : lane_kinds()) {
      if (kind.name != kGolden) compare_pair(kind.name, kGolden);
    }
    compare_pair(kGraph, kEager);
    if (result.contains("accuracy")) explain(result);
  }

  /// Of a graph lane that fails: whether it is the dtype's rounding or a defect.
  void explain(const Json& result) {
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

  static void compare_speed(Json& result) {
    const Json& lanes = result["lanes"];
    const auto median = [&lanes](std::string_view lane) {
      return lanes[lane]["latency_ms"]["p50"].get<double>();
    };
    for (const std::string_view base : {kEager, kGolden}) {
      Json& speedup = result["speedup"][fmt::format("graph_vs_{}", base)];
      const std::string_view missing = !lanes.contains(kGraph) ? kGraph : base;
      if (!lanes.contains(missing)) {
        speedup = fmt::format("none: the lane {} did not run", missing);
      } else if (lanes[base]["dtype"] != lanes[kGraph]["dtype"]) {
        speedup = fmt::format("none: {} ran in {}, graph in {}", base,
                              lanes[base]["dtype"].get<std::string>(),
                              lanes[kGraph]["dtype"].get<std::string>());
      } else {
        speedup = median(base) / median(kGraph);
      }
    }
    const auto ran = [&lanes](std::string_view lane) { return lanes.contains(lane); };
    if (ran(kEager) && ran(kGraph) && ran(kEagerOptimised) && ran(kGraphUnfused)) {
      result["gain"] = to_json(gain_of(
          {median(kEager), median(kEagerOptimised), median(kGraphUnfused), median(kGraph)}));
    }
  }

  void step(const std::string& what) { progress_(what, done_++ / steps_); }

  const BenchOptions& options_;
  const Progress& progress_;
  std::vector<int> processors_;
  std::vector<LaneProcess> lanes_;
  std::optional<runtime::Source> source_;
  std::optional<GenerationBench> generation_;
  DType dtype_ = DType::float32;  ///< of all lanes but golden
  Json actual_, model_inputs_;
  std::vector<std::string> notes_;
  std::optional<Verdict> verdict_;  ///< none while nothing was compared
  double steps_ = 1, done_ = 0;
};

}  // namespace

Json run_bench(const BenchOptions& options, const Progress& progress) {
  return Bench(options, progress).run();
}

}  // namespace ostinato::bench
