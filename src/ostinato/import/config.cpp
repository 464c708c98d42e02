#include "ostinato/import/config.h"

#include <algorithm>
#include <cmath>

#include "ostinato/base/mapped_file.h"

namespace ostinato::importer {

namespace {

constexpr std::string_view kStage = "import/config";
constexpr int64_t kLargestSize = int64_t{1} << 24;
constexpr int64_t kLargestId = int64_t{1} << 40;

/// The value as JSON, cut when it is long.
std::string shown(const Json& value) {
  constexpr size_t kLongest = 60;
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "…";
  return text;
}

constexpr std::string_view kCorrect =
    "Correct the field, or take the file from the model's source.";

}  // namespace

Fields::Fields(const Json& object, std::string source, std::string path)
    : object_(&object), source_(std::move(source)), path_(std::move(path)) {}

std::string Fields::path_of(std::string_view name) const {
  return path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
}

bool Fields::contains(std::string_view name) const { return object_->contains(name); }

bool Fields::has(std::string_view name) const {
  const auto it = object_->find(name);
  return it != object_->end() && !it->is_null();
}

const Json* Fields::claim(std::string_view name) {
  claimed_.emplace(name);
  return has(name) ? &*object_->find(name) : nullptr;
}

const Json* Fields::need(std::string_view name, bool has_fallback) {
  claimed_.emplace(name);
  const auto it = object_->find(name);
  if (it != object_->end()) return &*it;
  if (!has_fallback) {
    reject(name, "Add the field, or take the file from the model's source.",
           "expected a value, got none");
  }
  return nullptr;
}

int64_t Fields::size(std::string_view name, std::optional<int64_t> fallback) {
  return integer(name, fallback, 1, kLargestSize);
}

int64_t Fields::integer(std::string_view name, std::optional<int64_t> fallback, int64_t low,
                        int64_t high) {
  const Json* value = need(name, fallback.has_value());
  if (value == nullptr) return *fallback;
  // An unsigned number above the largest int64 would wrap in `get`.
  const bool fits = value->is_number_integer() &&
                    (!value->is_number_unsigned() || value->get<uint64_t>() <= INT64_MAX);
  if (!fits || value->get<int64_t>() < low || value->get<int64_t>() > high) {
    reject(name, kCorrect, "expected an integer from {} to {}, got {}", low, high, shown(*value));
  }
  return value->get<int64_t>();
}

double Fields::real(std::string_view name, std::optional<double> fallback) {
  const Json* value = need(name, fallback.has_value());
  if (value == nullptr) return *fallback;
  if (!value->is_number() || !std::isfinite(value->get<double>())) {
    reject(name, kCorrect, "expected a finite number, got {}", shown(*value));
  }
  return value->get<double>();
}

bool Fields::flag(std::string_view name, bool fallback) {
  const Json* value = need(name, true);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) reject(name, kCorrect, "expected true or false, got {}", shown(*value));
  return value->get<bool>();
}

std::string Fields::text(std::string_view name, std::optional<std::string> fallback) {
  const Json* value = need(name, fallback.has_value());
  if (value == nullptr) return *fallback;
  if (!value->is_string()) reject(name, kCorrect, "expected a string, got {}", shown(*value));
  return value->get<std::string>();
}

std::optional<int64_t> Fields::optional_size(std::string_view name) {
  return claim(name) == nullptr ? std::nullopt : std::optional(size(name));
}

std::optional<double> Fields::optional_real(std::string_view name) {
  return claim(name) == nullptr ? std::nullopt : std::optional(real(name, std::nullopt));
}

std::optional<std::string> Fields::optional_text(std::string_view name) {
  return claim(name) == nullptr ? std::nullopt : std::optional(text(name));
}

std::vector<std::string> Fields::texts(std::string_view name) {
  const Json* value = claim(name);
  if (value == nullptr) return {};
  const bool right = value->is_array() && std::all_of(value->begin(), value->end(),
                                                      [](const Json& v) { return v.is_string(); });
  if (!right) reject(name, kCorrect, "expected a list of strings, got {}", shown(*value));
  return value->get<std::vector<std::string>>();
}

std::vector<int64_t> Fields::integers(std::string_view name) {
  const Json* value = claim(name);
  if (value == nullptr) return {};
  const auto in_range = [](const Json& v) {
    if (!v.is_number_integer()) return false;
    if (v.is_number_unsigned()) return v.get<uint64_t>() <= static_cast<uint64_t>(kLargestId);
    return v.get<int64_t>() >= -kLargestId && v.get<int64_t>() <= kLargestId;
  };
  if (in_range(*value)) return {value->get<int64_t>()};
  if (!value->is_array() || !std::all_of(value->begin(), value->end(), in_range)) {
    reject(name, kCorrect, "expected an integer or a list of integers, got {}", shown(*value));
  }
  return value->get<std::vector<int64_t>>();
}

std::optional<Fields> Fields::object(std::string_view name) {
  const Json* value = claim(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) reject(name, kCorrect, "expected an object, got {}", shown(*value));
  return Fields(*value, source_, path_of(name));
}

const Json& Fields::raw(std::string_view name) {
  static const Json kNull;
  const Json* value = claim(name);
  return value == nullptr ? kNull : *value;
}

void Fields::ignore(std::initializer_list<std::string_view> names) {
  claimed_.insert(names.begin(), names.end());
}

void Fields::require(std::string_view name, const Json& value, std::string_view remedy) {
  const Json* got = claim(name);
  if (got != nullptr && *got != value) {
    refuse(name, remedy, "the engine supports {} only, got {}", shown(value), shown(*got));
  }
}

void Fields::refuse_unclaimed() const {
  std::vector<std::string> names;
  for (const auto& [name, value] : object_->items()) {
    if (!claimed_.contains(name)) names.push_back(quote(path_of(name)));
  }
  if (names.empty()) return;
  fail(ErrorCode::unsupported, kStage,
       "Remove what does not change the arithmetic; for what does, import the model through "
       "torch.compile instead.",
       "{}: this engine does not know the field{} {}", source_, names.size() == 1 ? "" : "s",
       fmt::join(names, ", "));
}

Json read_json_object(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  const std::string_view text(reinterpret_cast<const char*>(file->data()), file->size());
  Json json = parse_json(text, kStage, path.string());
  if (!json.is_object()) {
    fail(ErrorCode::corrupt, kStage, "Take the file from the model's source.",
         "{}: expected a JSON object, got {}", path.string(), shown(json));
  }
  return json;
}

namespace {

std::optional<int64_t> one_id(Fields& fields, std::string_view name) {
  const std::vector<int64_t> ids = fields.integers(name);
  if (ids.size() > 1) fields.reject(name, kCorrect, "expected one id, got {}", ids.size());
  // Old configs write -1 for "there is none".
  return ids.empty() || ids[0] < 0 ? std::nullopt : std::optional(ids[0]);
}

/// Adds the settings that are other than neutral.
void collect_unsupported(const Json& json, std::vector<std::string>& unsupported) {
  struct Setting {
    std::string_view name;
    Json neutral;
  };
  static const std::vector<Setting> kSettings = {
      {"num_beams", 1},
      {"num_beam_groups", 1},
      {"penalty_alpha", 0.0},
      {"repetition_penalty", 1.0},
      {"encoder_repetition_penalty", 1.0},
      {"no_repeat_ngram_size", 0},
      {"encoder_no_repeat_ngram_size", 0},
      {"bad_words_ids", nullptr},
      {"sequence_bias", nullptr},
      {"suppress_tokens", nullptr},
      {"begin_suppress_tokens", nullptr},
      {"forced_bos_token_id", nullptr},
      {"forced_eos_token_id", nullptr},
      {"forced_decoder_ids", nullptr},
      {"exponential_decay_length_penalty", nullptr},
      {"guidance_scale", nullptr},
      {"watermarking_config", nullptr},
      {"min_length", 0},
      {"min_new_tokens", 0},
      {"dola_layers", nullptr},
      {"prompt_lookup_num_tokens", nullptr},
      {"stop_strings", nullptr},
      {"max_time", nullptr},
  };
  for (const Setting& setting : kSettings) {
    const auto it = json.find(setting.name);
    if (it == json.end() || it->is_null() || *it == setting.neutral) continue;
    unsupported.push_back(fmt::format("{} {}", setting.name, shown(*it)));
  }
}

}  // namespace

GenerationConfig read_generation_config(const std::filesystem::path& folder, Fields& config) {
  GenerationConfig result;
  result.bos = one_id(config, "bos_token_id");
  result.pad = one_id(config, "pad_token_id");
  result.eos = config.integers("eos_token_id");
  const std::filesystem::path path = folder / "generation_config.json";
  if (!std::filesystem::exists(path)) return result;
  const Json json = read_json_object(path);
  Fields fields(json, path.string());
  if (const auto bos = one_id(fields, "bos_token_id")) result.bos = bos;
  if (const auto pad = one_id(fields, "pad_token_id")) result.pad = pad;
  if (fields.has("eos_token_id")) result.eos = fields.integers("eos_token_id");
  collect_unsupported(json, result.unsupported);
  return result;
}

std::vector<std::string> read_labels(Fields& config) {
  constexpr int64_t kMostLabels = int64_t{1} << 20;
  config.ignore({"label2id"});
  const int64_t count = config.integer("num_labels", 2, 1, kMostLabels);
  const bool has_count = config.has("num_labels");
  const std::optional<Fields> id2label = config.object("id2label");
  if (!id2label) {
    std::vector<std::string> labels;
    for (int64_t i = 0; i < count; ++i) labels.push_back(fmt::format("LABEL_{}", i));
    return labels;
  }
  const Json& map = config.raw("id2label");
  if (map.empty()) config.reject("id2label", kCorrect, "expected at least one label, got none");
  if (has_count && map.size() != static_cast<size_t>(count)) {
    config.reject("id2label", kCorrect, "expected {} labels as num_labels says, got {}", count,
                  map.size());
  }
  std::vector<std::string> labels;
  for (size_t i = 0; i < map.size(); ++i) {
    const auto it = map.find(std::to_string(i));
    if (it == map.end() || !it->is_string()) {
      config.reject("id2label", kCorrect, "expected a string for each id from 0 to {}, not for {}",
                    map.size() - 1, i);
    }
    labels.push_back(it->get<std::string>());
  }
  return labels;
}

std::optional<DType> read_dtype(Fields& config) {
  const std::optional<std::string> legacy = config.optional_text("torch_dtype");
  const std::optional<std::string> modern = config.optional_text("dtype");
  const std::string_view used = modern ? "dtype" : "torch_dtype";
  std::string name = modern.value_or(legacy.value_or("auto"));
  if (name == "auto") return std::nullopt;
  if (name.starts_with("torch.")) name = name.substr(6);
  for (const DType dtype : {DType::float32, DType::bfloat16, DType::float16}) {
    if (name == name_of(dtype)) return dtype;
  }
  config.refuse(used, "Ask for one of them with --dtype after setting the field to null.",
                "the engine supports float32, bfloat16 and float16, got {}", quote(name));
}

}  // namespace ostinato::importer
