#include "events.h"

namespace ostinato::python {

namespace nb = nanobind;

namespace {

PyObject* listener = nullptr;  // set once, and kept until the process ends

}  // namespace

void on_event(nb::object function) { listener = function.release().ptr(); }

void tell(const char* event, nb::dict details) {
  if (listener != nullptr) nb::borrow<nb::object>(listener)(event, details);
}

}  // namespace ostinato::python
