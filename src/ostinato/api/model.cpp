#include "ostinato/model.h"

#include "ostinato/api/access.h"
#include "ostinato/base/error.h"

namespace ostinato {

namespace {

constexpr std::string_view kStage = "api/model";

/// It says itself what dtype it has and where its constants are.
void check_graph_text(const runtime::Source& source, const ModelOptions& options) {
  if (options.dtype && *options.dtype != source.dtype()) {
    fail(ErrorCode::unsupported, kStage, "Leave the dtype out, or write the graph in that dtype.",
         "{} is graph text of {}, and cannot become {}", source.path().string(),
         name_of(source.dtype()), name_of(*options.dtype));
  }
  if (options.weights == WeightSource::random) {
    fail(ErrorCode::unsupported, kStage, "Use its own constants.",
         "{} is graph text, for which there are no random weights", source.path().string());
  }
}

}  // namespace

const runtime::Source& Model::source() const {
  if (source_ == nullptr) fail_moved_from("model");
  return *source_;
}

Model Model::open(const std::filesystem::path& path, const ModelOptions& options) {
  auto source = std::make_shared<const runtime::Source>(runtime::Source::open(
      path, {options.dtype, options.weights, options.seed, {}, Access::of(options.cache).known}));
  if (!source->model()) check_graph_text(*source, options);
  return Model(std::move(source));
}

const std::filesystem::path& Model::path() const { return source().path(); }
std::string Model::family() const { return source().family(); }
DType Model::dtype() const { return source().dtype(); }
int64_t Model::parameter_count() const { return source().parameter_count(); }
WeightSource Model::weights() const { return source().weights(); }
std::vector<std::string> Model::labels() const { return source().labels(); }
Graph Model::forward() const { return Access::wrap(source().forward()); }

bool Model::generates() const {
  const auto& model = source().model();
  return model && model->generates();
}

int64_t Model::context_length() const {
  const auto& model = source().model();
  return model ? model->context_length() : 0;
}

std::vector<int64_t> Model::end_tokens() const {
  const auto& model = source().model();
  return model ? model->generation().eos : std::vector<int64_t>();
}

Graph Model::decoder(int64_t capacity) const {
  const auto& model = source().model();
  if (model) return Access::wrap(model->decoder(capacity));
  fail(ErrorCode::invalid_argument, kStage, "Give the folder of a causal language model.",
       "{} is graph text, which does not generate", path().string());
}

}  // namespace ostinato
