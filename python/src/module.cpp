#include <nanobind/nanobind.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bind_bench.h"
#include "events.h"
#include "graph.h"
#include "model.h"
#include "openmp.h"
#include "ostinato/device/device.h"
#include "ostinato/error.h"
#include "ostinato/passes/pipeline.h"
#include "packed.h"
#include "pools.h"
#include "runner.h"
#include "streams.h"

namespace nb = nanobind;
using namespace ostinato;

namespace {

const char* name_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument: return "invalid_argument";
    case ErrorCode::not_found: return "not_found";
    case ErrorCode::unsupported: return "unsupported";
    case ErrorCode::corrupt: return "corrupt";
    case ErrorCode::io: return "io";
    case ErrorCode::out_of_memory: return "out_of_memory";
    case ErrorCode::internal: return "internal";
    case ErrorCode::interrupted: return "interrupted";
  }
  return "internal";
}

/// Engine errors become `ostinato.Error` with `code`, `stage`, `message` and `hint`.
void translate(const std::exception_ptr& raised, void* type) {
  try {
    std::rethrow_exception(raised);
  } catch (const Error& error) {
    const nb::handle cls(static_cast<PyObject*>(type));
    nb::object exception = cls(error.what());
    exception.attr("code") = name_of(error.code());
    exception.attr("stage") = error.stage();
    exception.attr("message") = error.message();
    exception.attr("hint") = error.hint();
    PyErr_SetObject(cls.ptr(), exception.ptr());
  }
}

}  // namespace

NB_MODULE(_engine, module) {
  nb::set_leak_warnings(false);  // PyTorch keeps compiled functions until the process ends
  module.doc() = "The engine, as the package's Python needs it.";
  PyObject* error = PyErr_NewExceptionWithDoc(
      "ostinato.Error",
      "What the engine raises: `code`, `stage`, `message`, and `hint`, the remedy.",
      PyExc_RuntimeError, nullptr);
  module.attr("Error") = nb::borrow(error);
  nb::register_exception_translator(translate, error);

  python::bind_graph(module);
  python::bind_runner(module);
  python::bind_model(module);
  python::bind_bench(module);
  module.def("use_tensors_of", &python::use_tensors_of, nb::arg("type"), nb::arg("tell_written"),
             "Names the tensor type, and the function to call with tensors that were written.");
  module.def("on_event", &python::on_event, nb::arg("function"),
             "Names the function to call with what becomes of captures: an event and its details.");
  module.def("share_openmp_threads", &python::share_openmp_threads,
             "Lets replays run on PyTorch's threads, if its OpenMP is GNU's; returns whether.");
  module.def("finish_packed", &python::finish_packed,
             "Waits until packed weights are on disk for later processes.");
  module.def("push_thread_limit", &python::push_thread_limit, nb::arg("threads"),
             "Caps the threads of this thread's replays, until it is taken back.");
  module.def("pop_thread_limit", &python::pop_thread_limit, "Takes the last such cap back.");
  module.def("pool_bytes", &python::pool_bytes, nb::arg("pool"),
             "Bytes that a pool's arenas have now.");
  module.def("limited_threads", &python::limited_threads, nb::arg("threads"),
             "That many threads, or the cap where that is lower.");
  module.def(
      "pass_names",
      [] {
        std::vector<std::string> names;
        for (const passes::Pass& pass : passes::pipeline()) names.emplace_back(pass.name);
        return names;
      },
      "The engine's passes, in the order in which they run.");
  module.def(
      "device_names",
      [] {
        std::vector<std::string> names;
        for (const device::Device* device : device::all()) names.emplace_back(device->name());
        return names;
      },
      "The devices that can be used on this machine.");
  module.attr("__version__") = OSTINATO_VERSION;
}
