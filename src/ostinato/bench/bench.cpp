#include "ostinato/bench/bench.h"

#include <algorithm>
#include <set>

#include "ostinato/base/error.h"
#include "ostinato/bench/generation.h"
#include "ostinato/bench/lane_process.h"
#include "ostinato/bench/processors.h"
#include "ostinato/bench/report.h"
#include "ostinato/bench/side_by_side.h"

namespace ostinato::bench {

namespace {

/// Whose driver must not be called before the lanes fork: it would not work in them.
bool is_cuda(std::string_view device) { return device == "cuda" || device.starts_with("cuda:"); }

using importer::WeightSource;

constexpr std::string_view kStage = "bench";

template <typename T>
bool are_distinct(const std::vector<T>& values) {
  return std::set<T>(values.begin(), values.end()).size() == values.size();
}

Schedule schedule_of(const BenchOptions& options) {
  return {options.warmup, options.iterations, options.strict};
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
  check(schedule_of(options));
  if (!is_cuda(options.device) && device::get(options.device).name() == "null") {
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
    together_.emplace(entries(), schedule_of(options_),
                      [this](const std::string& what) { step(what); });
    if (source_->model() && source_->model()->generates() && !options_.inputs.texts.empty()) {
      if (only_golden) {
        together_->note("No text was generated: it takes a lane other than golden.");
      } else {
        generation_.emplace(options_, *source_);
      }
    }
  }

  Json run() {
    SideBySide& together = *together_;
    steps_ = static_cast<double>(options_.batch_sizes.size() * together.steps_per_batch() +
                                 (generation_ ? generation_->steps(lanes_.size()) : 0));
    note_conditions();
    Json header = make_header();
    for (int64_t size : options_.batch_sizes) together.run_batch(resolve(size));
    if (generation_) {
      header["generation"] =
          generation_->run(lanes_, [this](const std::string& what) { step(what); });
      for (const std::string& failure : generation_->failures()) together.fail_with(failure);
    }
    header["model"]["inputs"] = model_inputs_;
    return together.report(std::move(header));
  }

 private:
  WeightSource weights_to_load() const {
    return options_.weights.value_or(WeightSource::pretrained);
  }

  LaneSpec spec(const LaneKind& kind) const {
    LaneSpec spec;
    spec.kind = kind;
    spec.model = options_.model;
    // What runs on a GPU has one thread of the host to queue it.
    spec.threads = kind.name != kGolden && is_cuda(options_.device) ? 1 : options_.threads;
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

  void note_conditions() {
    together_->note_conditions(
        {options_.device, std::string(name_of(source_->weights())), options_.threads, processors_});
    const auto& model = source_->model();
    if (model && model->family() == "vit" && model->labels().empty()) {
      together_->note(
          fmt::format("{} has no classifier head: its outputs are features and name no class.",
                      model->architecture()));
    }
    if (generation_ && options_.inputs.texts.size() > 1) {
      together_->note("The batches read the first prompt; all prompts are continued below.");
    }
  }

  Json make_header() const {
    const Json requested = {{"weights", name_of(options_.weights.value_or(source_->weights()))},
                            {"device", options_.device},
                            {"dtype", ostinato::name_of(dtype_)},
                            {"mode", options_.lanes},
                            {"threads", options_.threads},
                            {"seed", options_.seed}};
    return {{"requested", requested},
            {"machine", machine_line(options_.device, options_.threads, processors_)},
            {"model",
             {{"source", options_.model},
              {"family", source_->family()},
              {"parameters", source_->parameter_count()}}}};
  }

  /// The lanes, and what each must say that it ran as.
  std::vector<SideBySide::Entry> entries() {
    std::vector<SideBySide::Entry> result;
    for (LaneProcess& lane : lanes_) {
      const LaneSpec& spec = lane.spec();
      // Graph text says its own dtypes, for golden too.
      const DType dtype = spec.kind.name == kGolden && source_->model() ? DType::float32 : dtype_;
      result.push_back({&lane,
                        {{"device", spec.device},
                         {"dtype", ostinato::name_of(dtype)},
                         {"mode", runtime::name_of(spec.kind.mode)},
                         {"threads", spec.threads},
                         {"weights", name_of(source_->weights())}}});
    }
    return result;
  }

  /// A batch has no place for more pictures or texts than its size.
  void take_first(int64_t batch, std::vector<std::string>& given, std::string_view what) {
    const auto most = static_cast<size_t>(batch);
    if (given.size() <= most) return;
    together_->note(
        fmt::format("Batch {} takes the first {} of the {} {}.", batch, most, given.size(), what));
    given.resize(most);
  }

  /// The inputs of a batch; describes them, and with their symbolic sizes the model's.
  Batch resolve(int64_t batch) {
    runtime::InputRequest request = options_.inputs;
    request.batch_size = batch;
    if (generation_) request.texts.resize(1);  // of different lengths, and there is no mask
    take_first(batch, request.pictures, "pictures");
    take_first(batch, request.texts, "texts");
    const ir::Graph graph = source_->forward();
    Batch result{batch, Json::array(), {}};
    std::vector<std::vector<int64_t>> shapes;
    model_inputs_ = Json::array();
    for (const runtime::NamedInput& input : resolve_inputs(*source_, graph, request)) {
      const ir::Value& value = *graph.inputs()[result.inputs.size()];
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
      result.described.push_back(describe(input.tensor.shape()));
      model_inputs_.push_back(describe(std::move(symbolic)));
      shapes.push_back(input.tensor.shape());
      result.inputs.emplace_back(input.name, input.tensor);
    }
    const ir::Bindings sizes = bind_inputs(graph, shapes);
    const auto given = sizes.find("b");
    if (given != sizes.end() && given->second != batch) {
      fail(ErrorCode::invalid_argument, kStage, fmt::format("Give --batch-size {}.", given->second),
           "expected inputs of batch {}, got {}", batch, given->second);
    }
    return result;
  }

  void step(const std::string& what) { progress_(what, done_++ / steps_); }

  const BenchOptions& options_;
  const Progress& progress_;
  std::vector<int> processors_;
  std::vector<LaneProcess> lanes_;
  std::optional<runtime::Source> source_;
  std::optional<GenerationBench> generation_;
  DType dtype_ = DType::float32;  ///< of all lanes but golden
  std::optional<SideBySide> together_;
  Json model_inputs_;
  double steps_ = 1, done_ = 0;
};

}  // namespace

Json run_bench(const BenchOptions& options, const Progress& progress) {
  return Bench(options, progress).run();
}

}  // namespace ostinato::bench
