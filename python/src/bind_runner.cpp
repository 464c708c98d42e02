#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "runner.h"

namespace ostinato::python {

namespace nb = nanobind;

namespace {

RunnerOptions options_of(nb::dict given) {
  RunnerOptions options;
  const auto read = [&](const char* name, auto& field) {
    if (given.contains(name)) field = nb::cast<std::decay_t<decltype(field)>>(given[name]);
  };
  std::string mode(runtime::name_of(options.mode));
  read("device", options.device);
  read("mode", mode);
  read("threads", options.threads);
  read("capture_limit", options.capture_limit);
  read("frozen_parameters", options.frozen_parameters);
  read("force_recapture", options.force_recapture);
  read("zero_copy", options.zero_copy);
  read("strict", options.strict);
  read("packed_cache", options.packed_cache);
  read("in_place", options.in_place);
  read("input_in_place", options.input_in_place);
  read("cat_in_place", options.cat_in_place);
  read("specialise", options.specialise);
  read("graph_pool", options.graph_pool);
  read("reuse_pool", options.reuse_pool);
  read("passes_off", options.passes_off);
  options.mode = runtime::mode_of(mode);
  return options;
}

}  // namespace

void bind_runner(nb::module_& module) {
  nb::class_<RunnerStatistics>(module, "Statistics", "What a runner did so far.")
      .def_ro("captures", &RunnerStatistics::captures, "Shape keys planned and captured.")
      .def_ro("recaptures", &RunnerStatistics::recaptures,
              "Captures that force_recapture asked for, beside the first.")
      .def_ro("evictions", &RunnerStatistics::evictions, "Shape keys dropped at the limit.")
      .def_ro("steps", &RunnerStatistics::steps, "Launches of the last capture.")
      .def_ro("arenas", &RunnerStatistics::arenas, "Arenas that the captures of one thread have.")
      .def_ro("written_back", &RunnerStatistics::written_back,
              "Bytes copied to arguments after calls, as they could not be written there at once.")
      .def_ro("programs", &RunnerStatistics::programs,
              "Times the program was made: once, and again when a parameter changed.")
      .def_ro("passes_ms", &RunnerStatistics::passes_ms, "Milliseconds spent in passes.")
      .def_ro("plan_ms", &RunnerStatistics::plan_ms, "Milliseconds spent planning.")
      .def_ro("pack_ms", &RunnerStatistics::pack_ms, "Milliseconds spent packing weights.")
      .def_ro("capture_ms", &RunnerStatistics::capture_ms, "Milliseconds spent capturing.");
  auto runner =
      nb::class_<Runner>(module, "Runner", "A graph that takes and returns torch tensors.");
  runner.attr("_boxed_call") = true;  // AOTAutograd: called with a list, not with its items
  runner
      .def(
          "__init__",
          [](Runner* self, const GraphBuilder& graph, nb::dict options) {
            new (self) Runner(graph, options_of(options));
          },
          nb::arg("graph"), nb::arg("options"))
      .def("take_input", &Runner::take_input, nb::arg("input"), nb::arg("order"),
           "The next argument is a tensor whose dims lie in memory in that order.")
      .def("take_constant", &Runner::take_constant, nb::arg("constant"), nb::arg("order"),
           "The next argument is a tensor that stays the same over many calls.")
      .def("take_number", &Runner::take_number, nb::arg("input"),
           "The next argument is a float, as PyTorch gives it: a float64 tensor of rank 0.")
      .def("take_symbol", &Runner::take_symbol, nb::arg("name"),
           "The next argument is an int, the size of that name.")
      .def("take_unused", &Runner::take_unused, "The next argument is not looked at.")
      .def("give_output", &Runner::give_output, nb::arg("output"),
           "The next result is an output of the graph.")
      .def("give_view_of_output", &Runner::give_view_of_output, nb::arg("output"), nb::arg("sizes"),
           nb::arg("strides"), nb::arg("offset"),
           "The next result is a view of an output, in elements as torch.as_strided.")
      .def("give_view_of_argument", &Runner::give_view_of_argument, nb::arg("argument"),
           nb::arg("sizes"), nb::arg("strides"), nb::arg("offset"),
           "The next result is a view of an argument, the offset counted from the argument's.")
      .def("give_argument", &Runner::give_argument, nb::arg("argument"),
           "The next result is an argument itself.")
      .def("give_dim", &Runner::give_dim, nb::arg("dim"), "The next result is an int.")
      .def("give_none", &Runner::give_none, "The next result is None.")
      .def("write_back", &Runner::write_back, nb::arg("output"), nb::arg("argument"),
           "Copies an output of the graph, which is no result, into an argument after each call.")
      .def("fall_back", &Runner::fall_back, nb::arg("function"),
           "Names what is called with the arguments where a shape cannot be captured.")
      .def("__call__", &Runner::operator(), nb::arg("arguments"),
           "The results for a list of arguments.")
      .def_prop_ro("statistics", &Runner::statistics, "What it did so far.")
      .def_prop_ro("program_text", &Runner::program_text,
                   "The graph as it runs, as text; empty before the first call.");
}

}  // namespace ostinato::python
