#include "ostinato/bench/bench.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>

#include "ostinato/base/error.h"
#include "ostinato/bench/lane_process.h"
#include "ostinato/bench/report.h"
#include "ostinato/text/chat_template.h"
#include "ostinato/text/tokenizer.h"

namespace ostinato::bench {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kStage = "bench";
constexpr std::string_view kGolden = "golden";
constexpr int kRounds = 5;                 // that the timed calls of the lanes are spread over
constexpr double kGoldenBudgetMs = 5'000;  // of golden's timed calls: it is slow by design
constexpr double kNoBudget = 1e12;
/// A greedy flip is rounding while the two tokens' golden logits are at most this far apart, in
/// the lane's dtype.
constexpr double kFlipMargin = 1e-2;
constexpr double kReducedFlipMargin = 0.7;

/// A folder for tensors on their way between processes, removed at the end.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string pattern = (fs::temp_directory_path() / "ostinato-bench-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) {
      fail(ErrorCode::io, kStage, "Set TMPDIR to a folder that can be written to.",
           "cannot make a folder in {}", fs::temp_directory_path().string());
    }
    path = pattern;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  fs::path path;
};

class Bench {
 public:
  Bench(const BenchOptions& options, const Progress& progress)
      : options_(options), progress_(progress) {
    check();
    // Before anything starts a thread in this process: the lanes are forked.
    for (const std::string& name : options_.lanes) lanes_.emplace_back(spec(name), scratch_.path);
    source_ =
        runtime::Source::open(options_.model, {std::nullopt, options_.weights, options_.seed});
    requested_dtype_ = options_.dtype.value_or(source_->dtype());
  }

  Json run() {
    const auto& texts = options_.inputs.texts;
    const bool generates = source_->model() && source_->model()->generates() && !texts.empty();
    steps_ = static_cast<double>(options_.batch_sizes.size() * (kRounds + lanes_.size()) +
                                 (generates ? texts.size() * (lanes_.size() + 1) : 0));
    Json report = header();
    for (int64_t batch : options_.batch_sizes) report["batches"].push_back(run_batch(batch));
    if (generates) report["generation"] = generate();
    report["verdict"] = name_of(verdict_);
    return report;
  }

 private:
  void check() const {
    for (const std::string& name : options_.lanes) {
      if (name != kGolden && name != "eager" && name != "graph") {
        fail(ErrorCode::invalid_argument, kStage, "Lanes are golden, eager and graph.",
             "there is no lane '{}'", name);
      }
    }
    const auto& lanes = options_.lanes;
    if (lanes.empty() || std::set<std::string>(lanes.begin(), lanes.end()).size() != lanes.size()) {
      fail(ErrorCode::invalid_argument, kStage, "Name each lane once.",
           "expected different lanes, got '{}'", fmt::join(lanes, ","));
    }
    if (options_.iterations < 1 || options_.warmup < 0) {
      fail(ErrorCode::invalid_argument, kStage, "Ask for at least one timed call.",
           "expected iterations ≥ 1 and warmup ≥ 0, got {} and {}", options_.iterations,
           options_.warmup);
    }
  }

  LaneSpec spec(const std::string& name) const {
    LaneSpec spec;
    spec.name = name;
    spec.model = options_.model;
    spec.threads = options_.threads;
    spec.weights = options_.weights;
    spec.seed = options_.seed;
    spec.capture_limit = options_.capture_limit;
    spec.passes_off = options_.passes_off;
    if (name == kGolden) {
      spec.device = "cpu";
      spec.dtype = DType::float32;
      spec.mode = runtime::Mode::reference;
    } else {
      spec.device = options_.device;
      spec.dtype = options_.dtype;
      spec.mode = runtime::mode_of(name);
    }
    return spec;
  }

  Json header() {
    const Json requested = {{"weights", name_of(options_.weights)},
                            {"device", options_.device},
                            {"dtype", ostinato::name_of(requested_dtype_)},
                            {"mode", options_.lanes},
                            {"threads", options_.threads},
                            {"seed", options_.seed}};
    Json actual = requested;  // every lane gave an error if it could not have what was asked
    Json report = {{"schema", 1},
                   {"requested", requested},
                   {"actual", std::move(actual)},
                   {"machine", machine_line(options_.device, options_.threads)},
                   {"batches", Json::array()}};
    report["model"] = {{"source", options_.model},
                       {"family", source_->family()},
                       {"parameters", source_->parameter_count()},
                       {"inputs", Json::array()}};
    report["notes"] = Json::array();
    if (options_.weights == importer::WeightSource::random) {
      report["notes"].push_back(
          "The weights are random: valid for comparing lanes and for timing; the outputs mean "
          "nothing.");
    }
    return report;
  }

  Json run_batch(int64_t batch) {
    runtime::InputRequest request = options_.inputs;
    request.batch_size = batch;
    if (source_->model() && source_->model()->generates() && request.texts.size() > 1) {
      request.texts.resize(1);  // texts of different lengths, and no mask: the first stands for all
    }
    const ir::Graph graph = source_->forward();
    NamedTensors inputs;
    Json described = Json::array();
    for (const runtime::NamedInput& input : resolve_inputs(*source_, graph, request)) {
      inputs.emplace_back(input.name, input.tensor);
      described.push_back({{"name", input.name},
                           {"shape", input.tensor.shape()},
                           {"dtype", ostinato::name_of(input.tensor.dtype())},
                           {"origin", input.origin}});
    }
    Json result = {{"batch_size", batch}, {"inputs", std::move(described)}};
    std::map<std::string, NamedTensors> outputs;
    for (LaneProcess& lane : lanes_) {
      step(fmt::format("batch {}: first call of {}", batch, lane.spec().name));
      result["lanes"][lane.spec().name] = lane.first_call(inputs);
      outputs[lane.spec().name] = lane.outputs();
      if (lane.spec().name != kGolden) lane.time(options_.warmup, kNoBudget);
    }
    time_in_turns(batch, result["lanes"]);
    for (LaneProcess& lane : lanes_) finish(lane, batch, result["lanes"][lane.spec().name]);
    compare_lanes(outputs, result);
    return result;
  }

  void time_in_turns(int64_t batch, Json& lanes) {
    const auto append = [&lanes](LaneProcess& lane, int64_t iterations, double budget_ms) {
      Json& samples = lanes[lane.spec().name]["samples_ms"];
      const Json timed = lane.time(iterations, budget_ms);
      samples.insert(samples.end(), timed["samples_ms"].begin(), timed["samples_ms"].end());
    };
    for (int round = 0; round < kRounds; ++round) {
      step(fmt::format("batch {}: round {} of {}", batch, round + 1, kRounds));
      for (LaneProcess& lane : lanes_) {
        Json& figures = lanes[lane.spec().name];
        if (round == 0) figures["samples_ms"] = Json::array();
        if (lane.spec().name == kGolden) {
          if (round > 0) continue;
          // It compiles nothing, so that its first run is a sample like any other.
          const double first_ms = figures["phases_ms"]["run"];
          figures["samples_ms"].push_back(first_ms);
          const double left_ms = kGoldenBudgetMs - first_ms;
          if (left_ms > first_ms) append(lane, options_.iterations - 1, left_ms);
          continue;
        }
        const int64_t share =
            options_.iterations / kRounds + (round < options_.iterations % kRounds ? 1 : 0);
        if (share > 0) append(lane, share, kNoBudget);
      }
    }
  }

  static void finish(LaneProcess& lane, int64_t batch, Json& figures) {
    const Latency latency = summarise(figures["samples_ms"].get<std::vector<double>>());
    figures["latency_ms"] = to_json(latency);
    figures["throughput_per_s"] = 1e3 * static_cast<double>(batch) / latency.p50;
    figures["fallbacks"] = Json::array();  // a lane that cannot run a node refuses the whole graph
    figures.update(lane.memory());
  }

  void compare_lanes(const std::map<std::string, NamedTensors>& outputs, Json& result) {
    for (const auto& [candidate, base] :
         {std::pair("eager", "golden"), std::pair("graph", "golden"),
          std::pair("graph", "eager")}) {
      if (outputs.count(candidate) == 0 || outputs.count(base) == 0) continue;
      const std::string pair = fmt::format("{}_vs_{}", candidate, base);
      const Accuracy accuracy = compare(outputs.at(base), outputs.at(candidate));
      result["accuracy"][pair] = to_json(accuracy);
      if (base == kGolden) verdict_ = worse(verdict_, accuracy.overall.verdict);
    }
    const auto median = [&](const char* lane) {
      return result["lanes"][lane]["latency_ms"]["p50"].get<double>();
    };
    result["speedup"] = Json::object();
    if (outputs.count("graph") > 0 && outputs.count("eager") > 0) {
      result["speedup"]["graph_vs_eager"] = median("eager") / median("graph");
    }
    if (outputs.count("graph") > 0 && outputs.count("golden") > 0) {
      // Only lanes of one dtype may be compared in speed.
      result["speedup"]["graph_vs_golden"] = requested_dtype_ == DType::float32
                                                 ? Json(median("golden") / median("graph"))
                                                 : Json("none: golden runs in float32");
    }
  }

  Json generate() {
    const auto tokenizer = text::Tokenizer::from_folder(options_.model);
    Json prompts = Json::array();
    for (const std::string& prompt : options_.inputs.texts) {
      prompts.push_back(generate_one(tokenizer, prompt));
    }
    return {{"prompts", std::move(prompts)}, {"max_new_tokens", options_.max_new_tokens}};
  }

  Json generate_one(const text::Tokenizer& tokenizer, const std::string& prompt) {
    const std::vector<int64_t> ids = prompt_ids(tokenizer, prompt);
    Json result = {{"prompt", prompt}, {"prompt_tokens", ids.size()}};
    for (LaneProcess& lane : lanes_) {
      const std::string& name = lane.spec().name;
      step(fmt::format("{} continues \"{}\"", name, prompt));
      if (name == kGolden) continue;
      Json figures = lane.generate(ids, options_.max_new_tokens, false);
      const auto tokens = figures["tokens"].get<std::vector<int64_t>>();
      const auto times = figures["token_ms"].get<std::vector<double>>();
      const double median = summarise(times).p50;
      figures["text"] = tokenizer.decode(tokens, true, text::UnknownIds::skip);
      figures["ms_per_token"] = times.empty() ? Json(nullptr) : Json(median);
      figures["tokens_per_s"] = times.empty() ? Json(nullptr) : Json(1e3 / median);
      result["lanes"][name] = std::move(figures);
    }
    judge(ids, result);
    // The keys that others rely on are those of the graph lane.
    const char* shown = result["lanes"].contains("graph") ? "graph" : "eager";
    for (const char* key : {"text", "tokens", "first_token_ms", "ms_per_token", "tokens_per_s"}) {
      if (result["lanes"].contains(shown)) result[key] = result["lanes"][shown][key];
    }
    return result;
  }

  void judge(const std::vector<int64_t>& ids, Json& result) {
    step("golden reads what was generated");
    for (LaneProcess& lane : lanes_) {
      if (lane.spec().name != kGolden) continue;
      for (auto& [name, figures] : result["lanes"].items()) {
        const Json verdict = lane.judge(ids, figures["tokens"].get<std::vector<int64_t>>());
        figures.update(verdict);
        const bool flipped = !verdict["first_flip"].is_null();
        const double limit = requested_dtype_ == DType::float32 ? kFlipMargin : kReducedFlipMargin;
        figures["flip_margin_limit"] = limit;
        if (flipped && verdict["first_flip"]["margin"].get<double>() > limit) {
          verdict_ = Verdict::fail;
        }
      }
    }
  }

  std::vector<int64_t> prompt_ids(const text::Tokenizer& tokenizer,
                                  const std::string& prompt) const {
    const auto chat = text::ChatTemplate::from_folder(options_.model);
    const text::ChatMessage message{"user", prompt};
    text::ChatOptions options;
    if (chat.kind() == text::ChatTemplate::Kind::qwen3) options.enable_thinking = false;
    return tokenizer.encode(chat.render({&message, 1}, options), {.add_special_tokens = false}).ids;
  }

  void step(const std::string& what) { progress_(what, done_++ / steps_); }

  const BenchOptions& options_;
  const Progress& progress_;
  ScratchFolder scratch_;
  std::vector<LaneProcess> lanes_;
  std::optional<runtime::Source> source_;
  DType requested_dtype_ = DType::float32;
  Verdict verdict_ = Verdict::pass;
  double steps_ = 1, done_ = 0;
};

}  // namespace

Json run_bench(const BenchOptions& options, const Progress& progress) {
  return Bench(options, progress).run();
}

}  // namespace ostinato::bench
