#pragma once

#include <nanobind/nanobind.h>

namespace ostinato::python {

/// The bench room, as `ostinato.bench` needs it.
void bind_bench(nanobind::module_& module);

}  // namespace ostinato::python
