#include "ostinato/runtime/source.h"

#include "ostinato/base/error.h"
#include "ostinato/base/mapped_file.h"
#include "ostinato/import/safetensors.h"
#include "ostinato/ir/text.h"
#include "ostinato/ops/ops.h"

namespace ostinato::runtime {

namespace fs = std::filesystem;

ir::Graph read_graph(const fs::path& path) {
  return naming(path.string(), [&path] {
    const auto file = MappedFile::open(path);
    const auto* text = reinterpret_cast<const char*>(file->data());
    ir::Graph graph = ir::parse({text, file->size()}, ops::table());
    const fs::path weights_path = fs::path(path).replace_extension(".safetensors");
    std::optional<importer::SafetensorsFile> weights;
    ir::attach_constants(graph, [&](const std::string& name) {
      if (!weights) weights = importer::SafetensorsFile::open(weights_path);
      return weights->get(name);
    });
    return graph;
  });
}

Source Source::open(const fs::path& path, const importer::ModelOptions& options) {
  Source source;
  source.path_ = path;
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    source.model_ = importer::Model::load(path, options);
    return source;
  }
  if (!fs::exists(path, ignored)) {
    fail(ErrorCode::not_found, "runtime/source",
         "Give a folder with config.json and safetensors, or a graph text file.",
         "there is no model at '{}'", path.string());
  }
  source.graph_ = std::make_shared<const ir::Graph>(read_graph(path));
  return source;
}

ir::Graph Source::forward() const { return model_ ? model_->forward() : graph_->specialise({}); }

std::vector<std::string> Source::labels() const {
  return model_ ? model_->labels() : std::vector<std::string>();
}

std::string Source::family() const { return model_ ? std::string(model_->family()) : "graph"; }

int64_t Source::parameter_count() const {
  if (model_) return model_->parameter_count();
  int64_t count = 0;
  for (const ir::Value* constant : graph_->constants()) count += constant->data.numel();
  return count;
}

importer::WeightSource Source::weights() const {
  return model_ ? model_->weight_source() : importer::WeightSource::pretrained;
}

DType Source::dtype() const {
  if (model_) return model_->dtype();
  for (const auto* values : {&graph_->inputs(), &graph_->constants()}) {
    for (const ir::Value* value : *values) {
      if (is_floating(value->dtype())) return value->dtype();
    }
  }
  return DType::float32;
}

}  // namespace ostinato::runtime
