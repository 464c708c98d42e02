#pragma once

#include <nanobind/nanobind.h>

/// What becomes of captures, told to Python, where logs and records are.
namespace ostinato::python {

/// Names the function to call with an event and a dict of details, for all runners. It may raise:
/// the call at hand then ends with its error.
void on_event(nanobind::object function);

/// `captured`, `evicted`, `moved` or `failed`, or `unkept` of packed weights. Under the GIL.
void tell(const char* event, nanobind::dict details);

}  // namespace ostinato::python
