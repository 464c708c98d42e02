#include "ostinato/import/new_model.h"

#include "ostinato/base/atomic_file.h"
#include "ostinato/base/dtype.h"
#include "ostinato/base/error.h"
#include "ostinato/base/mapped_file.h"
#include "ostinato/base/new_folder.h"
#include "ostinato/import/checkpoint.h"
#include "ostinato/import/model.h"
#include "ostinato/import/safetensors_writer.h"

namespace ostinato::importer {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStage = "import/new_model";

void write_json(const fs::path& path, const Json& json) {
  write_file(path, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

void require_tokenizer(const fs::path& folder) {
  if (fs::exists(folder / "tokenizer.json")) return;
  fail(ErrorCode::not_found, kStage,
       "Give --tokenizer a model's folder; tools/make_qwen_tokenizer.py makes one for Qwen.",
       "expected {} to be there", (folder / "tokenizer.json").string());
}

void copy_tokenizer(const fs::path& from, NewFolder& to) {
  for (const std::string_view name :
       {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
        "vocab.txt", "vocab.json", "merges.txt", "chat_template.jinja"}) {
    if (!fs::exists(from / name)) continue;
    const auto file = MappedFile::open(from / name);
    write_file(to.file(name), {reinterpret_cast<const char*>(file->data()), file->size()});
  }
}

/// How transformers' ViTImageProcessor prepares a picture for this input.
Json picture_processor(const InputSpec& input) {
  const auto channels = static_cast<size_t>(input.shape[1].value());
  return {{"do_normalize", true},
          {"do_rescale", true},
          {"do_resize", true},
          {"image_mean", std::vector<double>(channels, 0.5)},
          {"image_processor_type", "ViTImageProcessor"},
          {"image_std", std::vector<double>(channels, 0.5)},
          {"resample", 2},
          {"rescale_factor", 1.0 / 255},
          {"size", {{"height", input.shape[2].value()}, {"width", input.shape[3].value()}}}};
}

/// Of a configuration that comes without one: the ids that its config.json has.
Json generation_of(const GenerationConfig& ids) {
  Json json = Json::object();
  if (ids.bos) json["bos_token_id"] = *ids.bos;
  if (ids.pad) json["pad_token_id"] = *ids.pad;
  if (!ids.eos.empty()) json["eos_token_id"] = ids.eos;
  return json;
}

}  // namespace

NewModel new_model(const Preset& preset, const std::string& source, const fs::path& folder,
                   const NewModelOptions& options) {
  if (!options.tokenizer.empty()) require_tokenizer(options.tokenizer);
  NewFolder made(folder);
  const Model model = Model::from_config(preset.config, source,
                                         {.dtype = options.dtype,
                                          .weights = WeightSource::random,
                                          .seed = options.seed,
                                          .progress = options.progress});
  if (!options.tokenizer.empty()) copy_tokenizer(options.tokenizer, made);
  for (const InputSpec& input : model.inputs()) {
    if (input.kind != InputKind::picture) continue;
    write_json(made.file("preprocessor_config.json"), picture_processor(input));
  }
  if (model.generates()) {
    write_json(made.file("generation_config.json"),
               preset.generation.is_null() ? generation_of(model.generation()) : preset.generation);
  }
  const std::vector<std::pair<std::string, Tensor>> tensors(model.weights().begin(),
                                                            model.weights().end());
  write_safetensors(made.file("model.safetensors"), tensors,
                    {{"format", "pt"},
                     {std::string(kWeightsKey), std::string(kRandomWeights)},
                     {std::string(kSeedKey), std::to_string(options.seed)}},
                    options.progress);
  Json config = preset.config;
  config.erase("torch_dtype");
  config["dtype"] = name_of(model.dtype());
  config["architectures"] = {model.architecture()};
  write_json(made.file("config.json"), config);
  made.commit();
  return {model.architecture(), model.dtype(), model.parameter_count()};
}

}  // namespace ostinato::importer
