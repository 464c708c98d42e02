#include "ostinato/runtime/source.h"

#include <fstream>
#include <iterator>

#include "ostinato/base/error.h"
#include "ostinato/import/safetensors.h"
#include "ostinato/ir/text.h"
#include "ostinato/ops/ops.h"

namespace ostinato::runtime {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kStage = "runtime/source";

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    fail(ErrorCode::io, kStage, "Check the path and its permissions.", "cannot read {}",
         path.string());
  }
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

Source Source::open(const fs::path& path, const importer::ModelOptions& options) {
  Source source;
  source.path_ = path;
  if (fs::is_directory(path)) {
    source.model_ = importer::Model::load(path, options);
    return source;
  }
  if (!fs::is_regular_file(path)) {
    fail(ErrorCode::not_found, kStage,
         "Give a folder with config.json and safetensors, or a graph text file.",
         "there is no model at '{}'", path.string());
  }
  source.graph_text_ = read_text(path);
  source.forward();  // so that a bad file is found now
  return source;
}

ir::Graph Source::forward() const {
  if (model_) return model_->forward();
  ir::Graph graph = ir::parse(graph_text_, ops::table());
  const fs::path weights = fs::path(path_).replace_extension(".safetensors");
  std::optional<importer::SafetensorsFile> file;
  ir::attach_constants(graph, [&](const std::string& name) {
    if (!file) file = importer::SafetensorsFile::open(weights);
    return file->get(name);
  });
  return graph;
}

std::vector<std::string> Source::labels() const {
  return model_ ? model_->labels() : std::vector<std::string>();
}

std::string Source::family() const { return model_ ? std::string(model_->family()) : "graph"; }

int64_t Source::parameter_count() const {
  if (model_) return model_->parameter_count();
  int64_t count = 0;
  const ir::Graph graph = forward();
  for (const ir::Value* constant : graph.constants()) count += numel(constant->shape()).value();
  return count;
}

importer::WeightSource Source::weights() const {
  return model_ ? model_->weight_source() : importer::WeightSource::pretrained;
}

DType Source::dtype() const {
  if (model_) return model_->dtype();
  const ir::Graph graph = forward();
  for (const auto* values : {&graph.inputs(), &graph.constants()}) {
    for (const ir::Value* value : *values) {
      if (is_floating(value->dtype())) return value->dtype();
    }
  }
  return DType::float32;
}

}  // namespace ostinato::runtime
