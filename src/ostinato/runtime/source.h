#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ostinato/import/model.h"
#include "ostinato/ir/graph.h"

namespace ostinato::runtime {

/// What MODEL on the command line stands for, opened: a HuggingFace folder, or a graph text file
/// with its constants in the safetensors file of the same name beside it.
class Source {
 public:
  /// Throws `not_found` for a path that is neither.
  static Source open(const std::filesystem::path& path, const importer::ModelOptions& options);

  const std::filesystem::path& path() const { return path_; }
  /// Nothing for a graph text file.
  const std::optional<importer::Model>& model() const { return model_; }

  ir::Graph forward() const;
  std::vector<std::string> labels() const;
  std::string family() const;       ///< `graph` for a graph text file
  int64_t parameter_count() const;  ///< elements of all constants
  DType dtype() const;              ///< of the weights, and of what is computed with them
  /// What the weights are, which may be random without having been asked for: see
  /// `importer::Model::weight_source`. A graph text file's are those of the file beside it.
  importer::WeightSource weights() const;

 private:
  std::filesystem::path path_;
  std::optional<importer::Model> model_;
  std::shared_ptr<const ir::Graph> graph_;  // of a graph text file
};

/// Reads a graph text file, with its constants from the safetensors file of the same name beside
/// it. Throws `not_found`, `io`, and `corrupt` for a text that is no graph, naming the file.
ir::Graph read_graph(const std::filesystem::path& path);

}  // namespace ostinato::runtime
