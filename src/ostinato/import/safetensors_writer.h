#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "ostinato/base/progress.h"
#include "ostinato/tensor.h"

namespace ostinato::importer {

/// Writes the tensors whole or not at all (see `AtomicFile`), ordered and padded as the reference
/// implementation does, so that every tensor is aligned to its dtype. Throws `invalid_argument` for
/// a name that occurs twice or is not UTF-8, and `io`.
void write_safetensors(const std::filesystem::path& path,
                       const std::vector<std::pair<std::string, Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata = {},
                       const Progress& progress = {});

}  // namespace ostinato::importer
