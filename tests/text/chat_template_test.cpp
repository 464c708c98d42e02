#include "ostinato/text/chat_template.h"

#include <gmock/gmock.h>

#include <fstream>

#include "ostinato/error.h"

namespace ostinato::text {
namespace {

// Plain ChatML, as many models have it.
constexpr const char* kChatMl =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\\n' }}{% endif %}";

class ChatTemplateFolder : public testing::Test {
 protected:
  ChatTemplateFolder() {
    std::filesystem::create_directories(folder_);
    std::filesystem::remove(folder_ / "chat_template.jinja");
    std::filesystem::remove(folder_ / "tokenizer_config.json");
  }
  ~ChatTemplateFolder() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& name, const std::string& content) const {
    std::ofstream(folder_ / name, std::ios::binary) << content;
  }

  std::filesystem::path folder_ = std::filesystem::path(testing::TempDir()) /
                                  testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST(ChatTemplate, RendersChatMl) {
  const auto chat = ChatTemplate::recognize(kChatMl, "test");
  EXPECT_EQ(chat.kind(), ChatTemplate::Kind::chatml);
  const std::vector<ChatMessage> messages{{"system", "s"}, {"user", "<think>u</think>"}};
  EXPECT_EQ(chat.render(messages),
            "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\n<think>u</think><|im_end|>\n"
            "<|im_start|>assistant\n");
  ChatOptions options;
  options.enable_thinking = false;
  EXPECT_THROW(chat.render(messages, options), Error);
}

TEST(ChatTemplate, FingerprintIgnoresIndentationAndLineEnds) {
  EXPECT_EQ(chat_template_fingerprint("{%- a %}\n  {{- b }}\n"),
            chat_template_fingerprint("{%- a %}\r\n\r\n{{- b }}"));
  EXPECT_NE(chat_template_fingerprint("{%- a %}\n{{- b }}"),
            chat_template_fingerprint("{%- a %}{{- b }}"));
  EXPECT_NE(chat_template_fingerprint("{{- 'a b' }}"), chat_template_fingerprint("{{- 'a  b' }}"));
}

TEST(ChatTemplate, RefusesOthers) {
  for (const std::string& text :
       {std::string(), std::string("{{ messages }}"), std::string(kChatMl) + "{{ 'x' }}"}) {
    try {
      ChatTemplate::recognize(text, "somewhere");
      FAIL() << "expected an Error";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("somewhere"));
      EXPECT_THAT(error.hint(), testing::HasSubstr("--prompt"));
    }
  }
}

TEST(ChatTemplate, RefusesBadConversations) {
  const auto chat = ChatTemplate::recognize(kChatMl, "test");
  EXPECT_THROW(chat.render({}), Error);
  const std::vector<ChatMessage> tool{{"user", "a"}, {"tool", "b"}};
  EXPECT_THROW(chat.render(tool), Error);
}

TEST_F(ChatTemplateFolder, ReadsTheJinjaFileFirst) {
  write("chat_template.jinja", kChatMl);
  write("tokenizer_config.json", R"({"chat_template": "other"})");
  EXPECT_EQ(ChatTemplate::from_folder(folder_).kind(), ChatTemplate::Kind::chatml);
}

TEST_F(ChatTemplateFolder, ReadsTheConfig) {
  std::string escaped;
  for (const char* c = kChatMl; *c != 0; ++c) escaped += *c == '\\' ? "\\\\" : std::string(1, *c);
  write("tokenizer_config.json", "{\"chat_template\": \"" + escaped + "\"}");
  EXPECT_EQ(ChatTemplate::from_folder(folder_).kind(), ChatTemplate::Kind::chatml);
}

TEST_F(ChatTemplateFolder, RefusesWhatHasNone) {
  EXPECT_THROW(ChatTemplate::from_folder(folder_), Error);
  for (const char* config : {"{}", "", "[", "[]", R"({"chat_template": null})",
                             R"({"chat_template": [{"name": "default"}]})"}) {
    write("tokenizer_config.json", config);
    EXPECT_THROW(ChatTemplate::from_folder(folder_), Error) << config;
  }
}

}  // namespace
}  // namespace ostinato::text
