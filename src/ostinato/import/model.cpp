#include "ostinato/import/model.h"

#include <algorithm>

#include "ostinato/base/error.h"
#include "ostinato/import/checkpoint.h"

namespace ostinato {

std::string_view name_of(WeightSource source) {
  return source == WeightSource::pretrained ? "pretrained" : "random";
}

}  // namespace ostinato

namespace ostinato::importer {

namespace {

constexpr std::string_view kStage = "import/model";

const Family& read_family(Fields& config, std::string_view source) {
  return family_of(config.text("model_type"), source);
}

/// The class that the config names, or the base model where it names none.
std::string read_architecture(Fields& config, const Family& family, std::string_view source) {
  const std::vector<std::string> names = config.texts("architectures");
  if (names.empty()) return std::string(family.base_class);
  if (std::find(family.classes.begin(), family.classes.end(), names[0]) != family.classes.end()) {
    return names[0];
  }
  fail(ErrorCode::unsupported, kStage,
       fmt::format("Of the family {} there are {}; name one of them in \"architectures\" if it is "
                   "what you want, or import the model through torch.compile.",
                   family.model_type, fmt::join(family.classes, ", ")),
       "{}: there is no builder for the class {}", source, quote(names[0]));
}

/// The dtype of the first floating tensor.
std::optional<DType> dtype_of_weights(const Checkpoint& checkpoint) {
  for (const std::string& name : checkpoint.names()) {
    const DType dtype = checkpoint.info(name).dtype;
    if (is_floating(dtype)) return dtype;
  }
  return std::nullopt;
}

/// The weights that the model's forward asks for.
std::vector<Parameter> parameters_of(const Architecture& model, DType dtype) {
  ir::Graph graph;
  Net net(graph, dtype);
  model.forward(net);
  for (const Parameter& parameter : net.parameters()) checked_numel(parameter);
  return net.parameters();
}

}  // namespace

Model Model::load(const std::filesystem::path& folder, const ModelOptions& options) {
  const std::filesystem::path path = folder / "config.json";
  if (!std::filesystem::is_directory(folder) || !std::filesystem::exists(path)) {
    fail(ErrorCode::not_found, kStage,
         "Give a HuggingFace model folder, with config.json and safetensors; `ostinato new-model` "
         "makes one.",
         "expected {} to be there", path.string());
  }
  Model model;
  model.folder_ = folder;
  model.options_ = options;
  model.config_ = std::make_shared<const Json>(read_json_object(path));
  const std::optional<Checkpoint> checkpoint = model.read_config(path.string());
  model.weights_ =
      checkpoint ? load_weights(*checkpoint, model.match_, model.parameters_, model.dtype_,
                                options.progress, options.known_files.get())
                 : random_weights(model.parameters_, model.dtype_, options.seed, options.progress);
  return model;
}

Model Model::from_config(Json config, const std::string& source, const ModelOptions& options) {
  if (options.weights != WeightSource::random) {
    fail(ErrorCode::invalid_argument, kStage, "Ask for random weights.",
         "{}: a configuration alone has no pretrained weights", source);
  }
  Model model;
  model.options_ = options;
  model.config_ = std::make_shared<const Json>(std::move(config));
  model.read_config(source);
  model.weights_ = random_weights(model.parameters_, model.dtype_, options.seed, options.progress);
  return model;
}

Model Model::from_names(Json config, const std::string& source, DType dtype,
                        const std::vector<std::string>& tensors) {
  Model model;
  model.options_.dtype = dtype;
  model.weight_source_ = WeightSource::pretrained;
  model.config_ = std::make_shared<const Json>(std::move(config));
  model.read_config(source, &tensors);
  return model;
}

std::optional<Checkpoint> Model::read_config(const std::string& source,
                                             const std::vector<std::string>* tensors) {
  Fields config(*config_, source);
  family_ = &read_family(config, source);
  architecture_ = read_architecture(config, *family_, source);
  ignore_common_fields(config);
  const std::optional<DType> config_dtype = read_dtype(config);

  std::optional<CheckpointNames> names;
  std::optional<Checkpoint> checkpoint;
  if (tensors != nullptr) {
    names.emplace(*tensors, *family_, architecture_, source);
  } else if (options_.weights == WeightSource::pretrained) {
    checkpoint = Checkpoint::open(folder_);
    names.emplace(checkpoint->names(), *family_, architecture_, folder_.string());
    if (!checkpoint->is_random()) weight_source_ = WeightSource::pretrained;
  }
  const auto has_module = [&](std::string_view module) {
    return !names || names->has_module(module);
  };
  model_ = family_->read({architecture_, config, has_module});
  if (model_->generates()) generation_ = read_generation_config(folder_, config);
  config.refuse_unclaimed();

  dtype_ = options_.dtype ? *options_.dtype
           : config_dtype ? *config_dtype
           : checkpoint   ? dtype_of_weights(*checkpoint).value_or(DType::float32)
                          : DType::float32;
  if (!is_floating(dtype_)) {
    fail(ErrorCode::invalid_argument, kStage, "Use float32, bfloat16 or float16.",
         "expected a floating dtype for the weights, got {}", ostinato::name_of(dtype_));
  }
  parameters_ = parameters_of(*model_, dtype_);
  if (names) match_ = match_weights(*names, *family_, parameters_, model_->tied());
  return checkpoint;
}

int64_t Model::parameter_count() const {
  int64_t count = 0;
  for (const auto& [name, tensor] : weights_) count += tensor.numel();
  return count;
}

int64_t Model::context_length() const {
  int64_t longest = 0;
  for (const InputSpec& input : inputs()) longest = std::max(longest, input.longest);
  return longest;
}

void Model::attach(ir::Graph& graph) const {
  if (weights_.empty()) return;
  for (ir::Value* constant : graph.constants()) {
    if (!constant->data.defined()) constant->data = weights_.at(constant->name);
  }
}

ir::Graph Model::forward() const {
  ir::Graph graph;
  graph.name = architecture_;
  Net net(graph, dtype_);
  model_->forward(net);
  attach(graph);
  return graph;
}

void Model::require_greedy() const {
  if (generation_.unsupported.empty()) return;
  fail(ErrorCode::unsupported, kStage,
       "Remove the settings from the file to decode greedily without them.",
       "{}: greedy decoding here does not apply {}", (folder_ / "generation_config.json").string(),
       fmt::join(generation_.unsupported, ", "));
}

ir::Graph Model::decoder(std::optional<int64_t> capacity) const {
  if (generates() && capacity && (*capacity < 1 || *capacity > context_length())) {
    fail(ErrorCode::invalid_argument, kStage, "Use a shorter prompt or fewer new tokens.",
         "expected a capacity from 1 to the context length {}, got {}", context_length(),
         *capacity);
  }
  require_greedy();
  ir::Graph graph;
  graph.name = fmt::format("{}.decoder", architecture_);
  Net net(graph, dtype_);
  model_->decoder(net, capacity);
  attach(graph);
  return graph;
}

}  // namespace ostinato::importer
