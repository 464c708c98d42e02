#include "bind_bench.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <optional>

#include "ostinato/base/error.h"
#include "ostinato/base/threads.h"
#include "ostinato/bench/fallbacks.h"
#include "ostinato/bench/memory.h"
#include "ostinato/bench/processors.h"
#include "ostinato/bench/report.h"
#include "ostinato/bench/side_by_side.h"
#include "runner.h"
#include "tensors.h"

namespace ostinato::python {

namespace nb = nanobind;
using bench::SideBySide;

namespace {

constexpr std::string_view kStage = "python/bench";

/// What the package's own Python wrote.
Json parse(const std::string& text) { return parse_json(text, kStage, "the bench's settings"); }

/// A dense tensor of PyTorch's as one of the engine's, which shares its memory.
Tensor tensor_of(const std::string& name, nb::handle object) {
  const TensorView view = view_of(object.ptr());
  const std::vector<int64_t> sizes(view.sizes, view.sizes + view.rank);
  const std::vector<int64_t> dense = ir::Layout::contiguous(sizes).strides;
  bool is_dense = view.place.is_cpu() && view.dtype.has_value();
  for (size_t d = 0; is_dense && d < sizes.size(); ++d) {
    is_dense = sizes[d] <= 1 || view.strides[d] == dense[d];
  }
  if (!is_dense) {
    fail(ErrorCode::unsupported, kStage,
         "Give the model outputs of float32, bfloat16, float16, int64, int32, uint8 or bool.",
         "the output '{}' has a dtype that the engine lacks", name);
  }
  return Tensor::borrow(view.data, *view.dtype, sizes, owner_of(object.ptr()));
}

/// A lane that Python drives: an object with the methods of `MeasuredLane`, JSON as text.
class PythonLane final : public bench::MeasuredLane {
 public:
  explicit PythonLane(nb::object object)
      : object_(std::move(object)), name_(nb::cast<std::string>(object_.attr("name"))) {}

  std::string_view name() const override { return name_; }
  Json first_call(const bench::NamedTensors&) override {
    return parse(nb::cast<std::string>(object_.attr("first_call")()));
  }
  bench::NamedTensors outputs() override {
    bench::NamedTensors tensors;
    for (const nb::handle item : object_.attr("outputs")()) {
      auto name = nb::cast<std::string>(item[0]);
      Tensor tensor = tensor_of(name, item[1]);
      tensors.emplace_back(std::move(name), std::move(tensor));
    }
    return tensors;
  }
  void warm_up(int64_t iterations) override { object_.attr("warm_up")(iterations); }
  Json time(int64_t iterations, double budget_ms) override {
    return parse(nb::cast<std::string>(object_.attr("time")(iterations, budget_ms)));
  }
  Json memory() override { return parse(nb::cast<std::string>(object_.attr("memory")())); }

 private:
  nb::object object_;
  std::string name_;
};

std::string run_bench(const std::string& text, nb::list objects, nb::object step) {
  const Json settings = parse(text);
  const Json& requested = settings.at("requested");
  std::vector<PythonLane> lanes;
  for (const nb::handle object : objects) lanes.emplace_back(nb::borrow(object));
  std::vector<SideBySide::Entry> entries;
  for (size_t i = 0; i < lanes.size(); ++i) {
    entries.push_back({&lanes[i], settings.at("asked").at(i)});
  }
  const bench::Schedule schedule{settings.at("warmup"), settings.at("iterations"),
                                 settings.at("strict")};
  SideBySide together(std::move(entries), schedule, [&](const std::string& what) { step(what); });
  const bench::Conditions conditions{requested.at("device"), requested.at("weights"),
                                     requested.at("threads"), settings.at("processors")};
  together.note_conditions(conditions);
  for (const Json& note : settings.at("notes")) together.note(note);
  for (const Json& batch : settings.at("batches")) {
    together.run_batch({batch.at("batch_size"), batch.at("inputs"), {}});
  }
  Json machine = bench::machine_line(conditions.device, conditions.threads, conditions.processors);
  machine["versions"].update(settings.at("versions"));
  Json report = together.report(
      {{"requested", requested}, {"model", settings.at("model")}, {"machine", std::move(machine)}});
  return bench::to_text(report);
}

/// The peak of anonymous memory of this process, watched while a block runs.
class MemoryWatch {
 public:
  void enter() { watch_.emplace(peak_); }
  void exit(const nb::args&) { watch_.reset(); }
  std::string memory() {
    return Json({{"peak_rss_bytes", bench::peak_resident_bytes()},
                 {"peak_anonymous_bytes", peak_.bytes()}})
        .dump();
  }

 private:
  bench::AnonymousPeak peak_;
  std::optional<bench::AnonymousPeak::Watch> watch_;
};

/// What all runners of the process are and did, together.
std::string engine_figures() {
  double passes_ms = 0, plan_ms = 0, pack_ms = 0, capture_ms = 0;
  size_t packed = 0, arena = 0, programs = 0, captured = 0, threads = 0;
  Json fallbacks = Json::array();
  for (const Runner* runner : Runner::all()) {
    const RunnerStatistics statistics = runner->statistics();
    passes_ms += statistics.passes_ms;
    plan_ms += statistics.plan_ms;
    pack_ms += statistics.pack_ms;
    capture_ms += statistics.capture_ms;
    if (runner->program() == nullptr) continue;
    ++programs;
    packed += runner->program()->packed().bytes();
    for (const runtime::Executable* executable : runner->executables()) {
      captured += executable->is_captured();
      arena += executable->plan().arena_bytes;
      threads = std::max<size_t>(threads, static_cast<size_t>(runner->threads()));
      for (Json& fallback : bench::fallbacks_of(executable->plan(), runner->program()->device())) {
        fallbacks.push_back(std::move(fallback));
      }
    }
  }
  return Json({{"passes_ms", passes_ms},
               {"plan_ms", plan_ms},
               {"pack_ms", pack_ms},
               {"capture_ms", capture_ms},
               {"packed_weight_bytes", packed},
               {"planned_arena_bytes", arena},
               {"programs", programs},
               {"captured", captured},
               {"threads", threads},
               {"fallbacks", std::move(fallbacks)}})
      .dump();
}

}  // namespace

void bind_bench(nb::module_& module) {
  module.def("run_bench", &run_bench, nb::arg("settings"), nb::arg("lanes"), nb::arg("step"),
             "Measures lanes side by side and returns the report; all JSON is text.");
  module.def(
      "report_markdown",
      [](const std::string& report) { return bench::to_markdown(parse(report)); },
      nb::arg("report"), "The report, which is JSON text, as a person reads it.");
  module.def(
      "write_report",
      [](const std::string& report, const std::string& folder) {
        bench::write_report(parse(report), folder);
      },
      nb::arg("report"), nb::arg("folder"), "Writes the report's files into the folder.");
  module.def(
      "prepare_report_folder",
      [](const std::string& folder) { bench::prepare_report_folder(folder); }, nb::arg("folder"),
      "Makes the folder, and raises unless a report can be written into it.");
  module.def("default_threads", &default_threads, "Worker threads, where nothing else is said.");
  module.def(
      "choose_processors",
      [](int threads) {
        return bench::choose_processors(bench::allowed_processors(), threads, bench::core_of);
      },
      nb::arg("threads"), "The processors that so many threads are kept to.");
  module.def("engine_figures", &engine_figures,
             "What all runners of this process are and did, together: JSON text.");
  nb::class_<MemoryWatch>(module, "MemoryWatch",
                          "Watches this process's anonymous memory while its block runs.")
      .def(nb::init<>())
      .def("__enter__", &MemoryWatch::enter)
      .def("__exit__", &MemoryWatch::exit, nb::sig("def __exit__(self, *args: object) -> None"))
      .def("memory", &MemoryWatch::memory, "The peaks so far: JSON text.");
}

}  // namespace ostinato::python
