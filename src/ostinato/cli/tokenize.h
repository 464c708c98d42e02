#pragma once

#include <CLI/CLI.hpp>

namespace ostinato::cli {

/// Registers the verb `tokenize`: ids, pieces and offsets of texts, or the text of ids.
void add_tokenize(CLI::App& app);

}  // namespace ostinato::cli
