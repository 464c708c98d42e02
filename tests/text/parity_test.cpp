#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "ostinato/text/chat_template.h"
#include "ostinato/text/stream_decoder.h"

// What the command line does not reach. tests/python/test_tokenizer.py writes the cases, with what
// tokenizers and transformers make of them, and runs these tests with OSTINATO_TEXT_CASES set.

namespace ostinato::text {
namespace {

using nlohmann::json;

class Parity : public testing::Test {
 protected:
  void SetUp() override {
    const char* path = std::getenv("OSTINATO_TEXT_CASES");
    if (!path) GTEST_SKIP() << "OSTINATO_TEXT_CASES is not set";
    cases_ = json::parse(std::ifstream(path));
  }

  json cases_;
};

TEST_F(Parity, ChatTemplates) {
  ASSERT_FALSE(cases_.at("chat").empty());
  for (const json& one : cases_["chat"]) {
    std::vector<ChatMessage> messages;
    for (const json& message : one.at("messages")) {
      messages.push_back({message.at("role"), message.at("content")});
    }
    ChatOptions options;
    options.add_generation_prompt = one.at("add_generation_prompt");
    if (one.contains("enable_thinking")) options.enable_thinking = one["enable_thinking"];
    const auto chat = ChatTemplate::recognize(one.at("template").get<std::string>(), "test");
    EXPECT_EQ(chat.render(messages, options), one.at("expected").get<std::string>());
  }
}

TEST_F(Parity, Pairs) {
  ASSERT_FALSE(cases_.at("pairs").empty());
  for (const json& group : cases_["pairs"]) {
    const auto tokenizer = Tokenizer::from_folder(group.at("folder").get<std::string>());
    for (const json& one : group.at("cases")) {
      EncodeOptions options;
      options.add_special_tokens = one.at("special");
      const Encoding got = tokenizer.encode_pair(one.at("first").get<std::string>(),
                                                 one.at("second").get<std::string>(), options);
      const json actual = {{"ids", got.ids},
                           {"type_ids", got.type_ids},
                           {"attention_mask", got.attention_mask},
                           {"special_tokens_mask", got.special_tokens_mask},
                           {"pieces", got.pieces},
                           {"offsets", got.offsets}};
      EXPECT_EQ(actual, one.at("expected")) << group["folder"] << one["first"] << one["second"];
    }
  }
}

TEST_F(Parity, StreamsJoinToTheDecodedText) {
  ASSERT_FALSE(cases_.at("streams").empty());
  for (const json& group : cases_["streams"]) {
    const auto tokenizer = Tokenizer::from_folder(group.at("folder").get<std::string>());
    for (const json& one : group.at("cases")) {
      const bool skip = one.at("skip_special_tokens");
      StreamDecoder decoder(tokenizer, skip);
      std::string text;
      for (const json& id : one.at("ids")) text += decoder.push(id);
      text += decoder.finish();
      EXPECT_EQ(text, one.at("expected").get<std::string>()) << group["folder"] << one["ids"];
    }
  }
}

}  // namespace
}  // namespace ostinato::text
