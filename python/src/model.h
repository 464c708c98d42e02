#pragma once

#include <nanobind/nanobind.h>

namespace ostinato::python {

/// The graphs of the model families that the engine builds itself, for the weights of live models.
void bind_model(nanobind::module_& module);

}  // namespace ostinato::python
