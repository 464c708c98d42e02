#pragma once

#include <CLI/CLI.hpp>

namespace ostinato::cli {

/// Registers the verb `new-model`: a model folder with seeded random weights.
void add_new_model(CLI::App& app);

}  // namespace ostinato::cli
