#include "ostinato/import/config.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace ostinato::importer {
namespace {

/// Expects the action on the fields of that JSON to fail, naming file and field.
template <typename Action>
void expect_rejected(const std::string& text, const std::string& field, Action&& action,
                     ErrorCode code = ErrorCode::invalid_argument) {
  const Json json = Json::parse(text);
  Fields fields(json, "folder/config.json");
  expect_error([&] { action(fields); }, code, "folder/config.json: field '" + field + "': ");
}

TEST(Fields, ReadsWhatIsThere) {
  const Json json = Json::parse(
      R"({"size": 7, "eps": 1e-6, "whole": 2, "on": true, "name": "gelu", "none": null,
          "ids": [1, 2], "id": 3, "types": ["a", "b"]})");
  Fields fields(json, "config.json");
  EXPECT_EQ(fields.size("size"), 7);
  EXPECT_EQ(fields.size("absent", 9), 9);
  EXPECT_DOUBLE_EQ(fields.real("eps", 1.0), 1e-6);
  EXPECT_DOUBLE_EQ(fields.real("whole", 1.0), 2);
  EXPECT_TRUE(fields.flag("on", false));
  EXPECT_TRUE(fields.flag("absent", true));
  EXPECT_EQ(fields.text("name"), "gelu");
  EXPECT_EQ(fields.optional_size("none"), std::nullopt);
  EXPECT_EQ(fields.integers("ids"), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(fields.integers("id"), (std::vector<int64_t>{3}));
  EXPECT_EQ(fields.texts("types"), (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(fields.contains("none"));
  EXPECT_FALSE(fields.has("none"));
  fields.refuse_unclaimed();
}

TEST(Fields, RejectsWhatIsNoSize) {
  for (const char* value : {"0", "-1", "1.5", "\"8\"", "true", "null", "[8]", "16777217",
                            "9223372036854775808", "18446744073709551615", "1e300"}) {
    expect_rejected(fmt::format(R"({{"hidden_size": {}}})", value), "hidden_size",
                    [](Fields& fields) { fields.size("hidden_size", 768); });
  }
  expect_rejected("{}", "hidden_size", [](Fields& fields) { fields.size("hidden_size"); });
}

TEST(Fields, RejectsValuesOfAnotherKind) {
  const auto real = [](Fields& fields) { fields.real("x", 1.0); };
  const auto flag = [](Fields& fields) { fields.flag("x", true); };
  const auto text = [](Fields& fields) { fields.text("x", "gelu"); };
  const auto texts = [](Fields& fields) { fields.texts("x"); };
  const auto integers = [](Fields& fields) { fields.integers("x"); };
  const auto object = [](Fields& fields) { fields.object("x"); };
  for (const char* value : {"null", "\"1\"", "true", "{}"}) {
    expect_rejected(fmt::format(R"({{"x": {}}})", value), "x", real);
  }
  for (const char* value : {"null", "1", "\"true\""}) {
    expect_rejected(fmt::format(R"({{"x": {}}})", value), "x", flag);
  }
  for (const char* value : {"null", "1", "[\"gelu\"]"}) {
    expect_rejected(fmt::format(R"({{"x": {}}})", value), "x", text);
  }
  expect_rejected(R"({"x": ["a", 1]})", "x", texts);
  expect_rejected(R"({"x": "a"})", "x", texts);
  expect_rejected(R"({"x": [1, 2.5]})", "x", integers);
  expect_rejected(R"({"x": 9223372036854775808})", "x", integers);
  expect_rejected(R"({"x": -9223372036854775808})", "x", integers);
  expect_rejected(R"({"x": [1]})", "x", object);
}

TEST(Fields, RefusesWhatNobodyClaims) {
  const Json json = Json::parse(R"({"known": 1, "logit_scale": 2, "harmless": 3, "window": null})");
  Fields fields(json, "config.json");
  fields.size("known");
  fields.ignore({"harmless", "not_there"});
  expect_error([&] { fields.refuse_unclaimed(); }, ErrorCode::unsupported,
               R"(config.json: this engine does not know the fields "logit_scale", "window")");
}

TEST(Fields, NamesTheFieldOfAnInnerObject) {
  const Json json = Json::parse(R"({"rope_parameters": {"factor": "two", "beta": 1}})");
  Fields fields(json, "config.json");
  std::optional<Fields> rope = fields.object("rope_parameters");
  ASSERT_TRUE(rope);
  expect_error([&] { rope->real("factor", 1.0); }, ErrorCode::invalid_argument,
               "'rope_parameters.factor'");
  expect_error([&] { rope->refuse_unclaimed(); }, ErrorCode::unsupported, "rope_parameters.beta");
}

TEST(Fields, RequiresOneValue) {
  const auto require = [](Fields& fields) { fields.require("is_decoder", false, "Change it."); };
  for (const char* text : {"{}", R"({"is_decoder": false})", R"({"is_decoder": null})"}) {
    const Json json = Json::parse(text);
    Fields fields(json, "config.json");
    require(fields);
    fields.refuse_unclaimed();
  }
  expect_rejected(R"({"is_decoder": true})", "is_decoder", require, ErrorCode::unsupported);
}

TEST(ReadLabels, KeepsTheirOrder) {
  const Json json = Json::parse(
      R"({"id2label": {"10": "k", "0": "a", "1": "b", "2": "c", "3": "d", "4": "e", "5": "f",
                       "6": "g", "7": "h", "8": "i", "9": "j"}, "label2id": {"a": 0}})");
  Fields fields(json, "config.json");
  EXPECT_EQ(read_labels(fields),
            (std::vector<std::string>{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"}));
  fields.refuse_unclaimed();
}

TEST(ReadLabels, RejectsContradictions) {
  const auto read = [](Fields& fields) { read_labels(fields); };
  expect_rejected(R"({"id2label": {"0": "a", "2": "c"}})", "id2label", read);
  expect_rejected(R"({"id2label": {}})", "id2label", read);
  expect_rejected(R"({"id2label": {"0": 1}})", "id2label", read);
  expect_rejected(R"({"id2label": {"0": "a"}, "num_labels": 2})", "id2label", read);
  expect_rejected(R"({"num_labels": 0})", "num_labels", read);
}

TEST(ReadDtype, TakesTheNewNameBeforeTheOld) {
  const auto read = [](const char* text) {
    const Json json = Json::parse(text);
    Fields fields(json, "config.json");
    const auto dtype = read_dtype(fields);
    fields.refuse_unclaimed();
    return dtype;
  };
  EXPECT_EQ(read(R"({"torch_dtype": "bfloat16"})"), DType::bfloat16);
  EXPECT_EQ(read(R"({"torch_dtype": "bfloat16", "dtype": "float16"})"), DType::float16);
  EXPECT_EQ(read(R"({"dtype": null, "torch_dtype": "torch.float32"})"), DType::float32);
  EXPECT_EQ(read(R"({"dtype": "auto"})"), std::nullopt);
  EXPECT_EQ(read("{}"), std::nullopt);
  expect_rejected(R"({"torch_dtype": "float64"})", "torch_dtype",
                  [](Fields& fields) { read_dtype(fields); }, ErrorCode::unsupported);
}

TEST(ReadGenerationConfig, PrefersItsOwnFile) {
  const TemporaryFolder folder;
  const Json json = Json::parse(R"({"eos_token_id": 5, "bos_token_id": 1, "pad_token_id": -1})");
  Fields alone(json, "config.json");
  const GenerationConfig from_config = read_generation_config(folder.path(), alone);
  EXPECT_EQ(from_config.eos, (std::vector<int64_t>{5}));
  EXPECT_EQ(from_config.bos, 1);
  EXPECT_EQ(from_config.pad, std::nullopt);

  folder.file("generation_config.json",
              R"({"eos_token_id": [7, 5], "pad_token_id": 5, "do_sample": true, "top_k": 20,
                  "repetition_penalty": 1.0})");
  Fields both(json, "config.json");
  const GenerationConfig merged = read_generation_config(folder.path(), both);
  EXPECT_EQ(merged.eos, (std::vector<int64_t>{7, 5}));
  EXPECT_EQ(merged.bos, 1);
  EXPECT_EQ(merged.pad, 5);
  EXPECT_TRUE(merged.unsupported.empty());
}

TEST(ReadGenerationConfig, NamesWhatGreedyDecodingDoesNotApply) {
  const TemporaryFolder folder;
  folder.file("generation_config.json",
              R"({"repetition_penalty": 1.1, "num_beams": 4, "suppress_tokens": [1], "top_p": 1})");
  const Json json = Json::object();
  Fields fields(json, "config.json");
  EXPECT_EQ(
      read_generation_config(folder.path(), fields).unsupported,
      (std::vector<std::string>{"num_beams 4", "repetition_penalty 1.1", "suppress_tokens [1]"}));
}

TEST(ReadJsonObject, RefusesWhatIsNone) {
  const TemporaryFolder folder;
  expect_error([&] { read_json_object(folder / "config.json"); }, ErrorCode::not_found,
               "config.json");
  for (const char* text : {"", "[]", "{", "nul", R"({"a": 1, "a": 2})", "{} {}"}) {
    const auto path = folder.file("config.json", text);
    expect_error([&] { read_json_object(path); }, ErrorCode::corrupt, "config.json");
  }
}

}  // namespace
}  // namespace ostinato::importer
