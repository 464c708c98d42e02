// Any configuration makes graphs or an Error. Either the bytes are a config.json themselves, or
// they choose values for fields of a good one.
#include <fuzzer/FuzzedDataProvider.h>

#include <string>

#include "ostinato/error.h"
#include "ostinato/import/hf/family.h"
#include "ostinato/import/model.h"
#include "ostinato/import/new_model.h"

namespace {

using namespace ostinato;

Json value_of(FuzzedDataProvider& data, const Json& old) {
  switch (data.ConsumeIntegralInRange(0, 9)) {
    case 0: return data.ConsumeIntegral<int64_t>();
    case 1: return data.ConsumeIntegral<uint64_t>();
    case 2: return data.ConsumeIntegralInRange<int64_t>(-2, 130);
    case 3: return data.ConsumeFloatingPoint<double>();
    case 4: return data.ConsumeBool();
    case 5: return nullptr;
    case 6: return data.PickValueInArray({"gelu", "yarn", "llama3", "linear", "sliding_attention"});
    case 7: return Json::array({data.ConsumeIntegralInRange<int64_t>(-1, 99), 8});
    case 8:
      return {{"rope_type", data.PickValueInArray({"yarn", "llama3", "linear", "default"})},
              {"factor", data.ConsumeFloatingPoint<double>()},
              {"low_freq_factor", data.ConsumeFloatingPoint<double>()},
              {"high_freq_factor", data.ConsumeFloatingPoint<double>()},
              {"original_max_position_embeddings", data.ConsumeIntegral<int32_t>()}};
    default: return Json::array({old, old});
  }
}

Json changed_preset(FuzzedDataProvider& data) {
  constexpr const char* kFields[] = {"architectures",      "num_labels",         "id2label",
                                     "rope_parameters",    "rope_scaling",       "layer_types",
                                     "pad_token_id",       "add_pooling_layer",  "head_dim",
                                     "sliding_window",     "use_sliding_window", "dtype",
                                     "pooler_output_size", "rope_theta",         "attention_bias"};
  const auto names = importer::preset_names();
  const size_t chosen = data.ConsumeIntegralInRange<size_t>(0, names.size() - 1);
  Json config = importer::preset(names[chosen], true).config;
  const int changes = data.ConsumeIntegralInRange(0, 4);
  for (int i = 0; i < changes; ++i) {
    std::string name = data.PickValueInArray(kFields);
    if (data.ConsumeBool()) {
      auto field = config.begin();
      std::advance(field, data.ConsumeIntegralInRange<size_t>(0, config.size() - 1));
      name = field.key();
    }
    config[name] = value_of(data, config.value(name, Json()));
  }
  return config;
}

/// What `Model` does with a configuration, but for the weights.
void build(const Json& config) {
  importer::Fields fields(config, "fuzz");
  const importer::Family& family = importer::family_of(fields.text("model_type"), "fuzz");
  const auto classes = fields.texts("architectures");
  const std::string architecture(classes.empty() ? family.base_class : classes.front());
  importer::ignore_common_fields(fields);
  const auto dtype = importer::read_dtype(fields).value_or(DType::float32);
  const auto model = family.read({architecture, fields, [](std::string_view) { return true; }});
  fields.refuse_unclaimed();
  constexpr int64_t kFewLayers = 4;  // thousands are fine, and slow
  if (config.value("num_hidden_layers", int64_t{99}) > kFewLayers) return;
  ir::Graph graph;
  importer::Net net(graph, dtype);
  model->forward(net);
  for (const importer::Parameter& parameter : net.parameters()) {
    importer::checked_numel(parameter);
  }
  if (!model->generates()) return;
  ir::Graph decoder;
  importer::Net decoder_net(decoder, dtype);
  model->decoder(decoder_net, 16);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  try {
    if (data.ConsumeBool()) {
      build(changed_preset(data));
    } else {
      const std::string text = data.ConsumeRemainingBytesAsString();
      const Json config = parse_json(text, "fuzz", "fuzz");
      if (config.is_object()) build(config);
    }
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) __builtin_trap();
  }
  return 0;
}
