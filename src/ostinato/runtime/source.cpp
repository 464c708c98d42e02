#include "ostinato/runtime/source.h"

#include "ostinato/base/error.h"
#include "ostinato/base/mapped_file.h"
#include "ostinato/import/safetensors.h"
#include "ostinato/ir/text.h"
#include "ostinato/ops/ops.h"

namespace ostinato::runtime {

namespace fs = std::filesystem;

Source Source::open(const fs::path& path, const importer::ModelOptions& options) {
  Source source;
  source.path_ = path;
  if (fs::is_directory(path)) {
    source.model_ = importer::Model::load(path, options);
    return source;
  }
  if (!fs::exists(path)) {
    fail(ErrorCode::not_found, "runtime/source",
         "Give a folder with config.json and safetensors, or a graph text file.",
         "there is no model at '{}'", path.string());
  }
  source.graph_text_ = MappedFile::open(path);
  source.forward();  // so that a bad file is found now
  return source;
}

ir::Graph Source::forward() const {
  if (model_) return model_->forward();
  return naming(path_.string(), [this] {
    const auto* text = reinterpret_cast<const char*>(graph_text_->data());
    ir::Graph graph = ir::parse({text, graph_text_->size()}, ops::table());
    const fs::path weights = fs::path(path_).replace_extension(".safetensors");
    std::optional<importer::SafetensorsFile> file;
    ir::attach_constants(graph, [&](const std::string& name) {
      if (!file) file = importer::SafetensorsFile::open(weights);
      return file->get(name);
    });
    return graph;
  });
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
