#include <gmock/gmock.h>

#include <functional>

#include "ostinato/error.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "text/small_tokenizer.h"

namespace ostinato::text {
namespace {

using nlohmann::json;

struct BadFile {
  std::string name;
  std::function<void(json&)> damage;
  std::string message;  ///< what the Error must name
};

void PrintTo(const BadFile& file, std::ostream* out) { *out << file.name; }

class BadTokenizer : public testing::TestWithParam<BadFile> {};

void expect_error(const std::string& text, const std::string& message) {
  try {
    Tokenizer::from_json(text);
    FAIL() << "expected an Error about " << message;
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr(message));
    EXPECT_FALSE(error.hint().empty());
  }
}

TEST_P(BadTokenizer, IsRefusedByName) {
  json file = byte_level_json();
  GetParam().damage(file);
  expect_error(file.dump(), GetParam().message);
}

const json kAdded = {{"id", 266},       {"content", "x"},  {"single_word", false},
                     {"lstrip", false}, {"rstrip", false}, {"normalized", false},
                     {"special", true}};

INSTANTIATE_TEST_SUITE_P(
    All, BadTokenizer,
    testing::Values(
        BadFile{"UnknownField", [](json& f) { f["surprise"] = 1; }, "surprise"},
        BadFile{"UnknownVersion", [](json& f) { f["version"] = "2.0"; }, "version"},
        BadFile{"NoModel", [](json& f) { f.erase("model"); }, "model"},
        BadFile{"ModelIsNoObject", [](json& f) { f["model"] = 1; }, "model"},
        BadFile{"UnknownModel", [](json& f) { f["model"]["type"] = "Unigram"; }, "Unigram"},
        BadFile{"NoVocabulary", [](json& f) { f["model"].erase("vocab"); }, "model.vocab"},
        BadFile{"NoMerges", [](json& f) { f["model"].erase("merges"); }, "model.merges"},
        BadFile{"VocabularyIsAList", [](json& f) { f["model"]["vocab"] = {"a"}; }, "model.vocab"},
        BadFile{"DuplicateId", [](json& f) { f["model"]["vocab"]["zz"] = 7; }, "every id"},
        BadFile{"NegativeId", [](json& f) { f["model"]["vocab"]["zz"] = -1; }, "model.vocab['zz']"},
        BadFile{"FractionalId", [](json& f) { f["model"]["vocab"]["zz"] = 1.5; }, "zz"},
        BadFile{"TextId", [](json& f) { f["model"]["vocab"]["zz"] = "1"; }, "zz"},
        BadFile{"HugeId", [](json& f) { f["model"]["vocab"]["zz"] = 1ull << 40; }, "zz"},
        BadFile{"FarId", [](json& f) { f["model"]["vocab"]["zz"] = 2'000'000'000; }, "2000000000"},
        BadFile{"MergeOfUnknownToken",
                [](json& f) {
                  f["model"]["merges"].push_back({"q", "zz"});
                },
                "'zz'"},
        BadFile{"MergeToUnknownToken",
                [](json& f) {
                  f["model"]["merges"].push_back({"q", "q"});
                },
                "'qq'"},
        BadFile{"MergeOfThree",
                [](json& f) {
                  f["model"]["merges"].push_back({"a", "a", "a"});
                },
                "two tokens"},
        BadFile{"MergeWithoutSpace", [](json& f) { f["model"]["merges"] = {"aa"}; }, "two tokens"},
        BadFile{"MergeOfNumbers",
                [](json& f) {
                  f["model"]["merges"] = {1, 2};
                },
                "merges"},
        BadFile{"Dropout", [](json& f) { f["model"]["dropout"] = 0.1; }, "dropout"},
        BadFile{"UnknownModelField", [](json& f) { f["model"]["x"] = 1; }, "model.x"},
        BadFile{"UnknownNormalizer",
                [](json& f) {
                  f["normalizer"] = {{"type", "Magic"}};
                },
                "Magic"},
        BadFile{"NormalizerWithoutType", [](json& f) { f["normalizer"] = json::object(); },
                "normalizer.type"},
        BadFile{"UnknownNormalizerField",
                [](json& f) {
                  f["normalizer"] = {{"type", "NFC"}, {"x", 1}};
                },
                "normalizer.x"},
        BadFile{"UnknownPreTokenizer",
                [](json& f) {
                  f["pre_tokenizer"] = {{"type", "Sequence"},
                                        {"pretokenizers", {{{"type", "UnicodeScripts"}}}}};
                },
                "pretokenizers[0]"},
        BadFile{"BadPattern",
                [](json& f) {
                  f["pre_tokenizer"] = {{"type", "Split"},
                                        {"pattern", {{"Regex", "("}}},
                                        {"behavior", "Isolated"},
                                        {"invert", false}};
                },
                "pre_tokenizer.pattern"},
        BadFile{"BadBehavior",
                [](json& f) {
                  f["pre_tokenizer"] = {{"type", "Split"},
                                        {"pattern", {{"String", "a"}}},
                                        {"behavior", "Explode"},
                                        {"invert", false}};
                },
                "MergedWithNext"},
        BadFile{"UnknownDecoder",
                [](json& f) {
                  f["decoder"] = {{"type", "CTC"}};
                },
                "CTC"},
        BadFile{"UnknownPostProcessor",
                [](json& f) {
                  f["post_processor"] = {{"type", "X"}};
                },
                "post_processor"},
        BadFile{"WrongFieldType", [](json& f) { f["pre_tokenizer"]["add_prefix_space"] = 1; },
                "pre_tokenizer.add_prefix_space"},
        BadFile{"AddedTokensAreNoList", [](json& f) { f["added_tokens"] = 1; }, "added_tokens"},
        BadFile{"AddedTokenWithOtherId",
                [](json& f) {
                  f["added_tokens"].push_back(kAdded);
                  f["added_tokens"][2]["id"] = 300;
                },
                "added_tokens[2]"},
        BadFile{"AddedTokenTwice",
                [](json& f) { f["added_tokens"].push_back(f["added_tokens"][0]); },
                "added_tokens[2]"},
        BadFile{"EmptyAddedToken",
                [](json& f) {
                  f["added_tokens"].push_back(kAdded);
                  f["added_tokens"][2]["content"] = "";
                },
                "added_tokens[2].content"},
        BadFile{"NegativeAddedId",
                [](json& f) {
                  f["added_tokens"].push_back(kAdded);
                  f["added_tokens"][2]["id"] = -5;
                },
                "added_tokens[2].id"}),
    [](const auto& info) { return info.param.name; });

TEST(BadTokenizerText, IsRefused) {
  const std::string whole = byte_level_json().dump();
  for (size_t length : {size_t{0}, size_t{1}, whole.size() / 2, whole.size() - 1}) {
    expect_error(whole.substr(0, length), "expected JSON");
  }
  expect_error("[1, 2]", "to be an object");
  expect_error("null", "to be an object");
  expect_error(std::string(100'000, '['), "levels of JSON");
  expect_error(R"({"model": {"type": "BPE", "type": "BPE"}})", "'type'");
  expect_error(R"({"model": {"vocab": {"a": 1}, "vocab": {"b": 1}}})", "'vocab'");
  expect_error(R"({"model": {"type": "BPE", "merges": [], "vocab": {"a": 1, "a": 2}}})",
               "every token");
  expect_error("{\"a\": \"\xFF\"}", "expected JSON");
}

TEST(BadTokenizerFolder, IsRefusedByItsFile) {
  const TemporaryFolder folder;
  const auto refused = [&folder](ErrorCode code) {
    ostinato::expect_error([&] { Tokenizer::from_folder(folder.path()); }, code,
                           (folder / "tokenizer.json").string());
  };
  refused(ErrorCode::not_found);
  folder.file("tokenizer.json", "{\"version\": ");
  refused(ErrorCode::corrupt);
  std::filesystem::remove(folder / "tokenizer.json");
  std::filesystem::create_symlink("/dev/zero", folder / "tokenizer.json");
  refused(ErrorCode::io);
}

TEST(BadTemplate, IsRefusedByName) {
  auto file = bert_json();
  file["post_processor"]["single"][0]["SpecialToken"]["id"] = "[NONE]";
  expect_error(file.dump(), "post_processor.single[0].SpecialToken.id");
  file = bert_json();
  file["post_processor"]["single"][1]["Sequence"]["id"] = "B";
  expect_error(file.dump(), "post_processor.single[1].Sequence.id");
}

TEST(BadTruncation, IsAnErrorAtUse) {
  auto file = bert_json();
  file["truncation"] = {
      {"max_length", 1}, {"strategy", "LongestFirst"}, {"stride", 0}, {"direction", "Right"}};
  EXPECT_THROW(Tokenizer::from_json(file.dump()).encode("un"), Error);
  file["truncation"]["max_length"] = 4;
  file["truncation"]["strategy"] = "OnlySecond";
  EXPECT_THROW(Tokenizer::from_json(file.dump()).encode("un un un un"), Error);
}

TEST(UnknownToken, MissingIsAnErrorAtUse) {
  auto file = bert_json();
  file["model"]["unk_token"] = "<none>";
  const Tokenizer tokenizer = Tokenizer::from_json(file.dump());
  EXPECT_EQ(tokenizer.encode("cafe").size(), 3u);
  EXPECT_THROW(tokenizer.encode("xyz"), Error);
}

}  // namespace
}  // namespace ostinato::text
