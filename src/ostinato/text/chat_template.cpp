#include "ostinato/text/chat_template.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

#include "ostinato/base/error.h"
#include "ostinato/base/json.h"
#include "ostinato/base/mapped_file.h"

namespace ostinato::text {

namespace {

constexpr std::string_view kStage = "text/chat_template";
constexpr std::string_view kRemedy =
    "Render the conversation yourself and pass the text with --prompt, without --chat.";

struct KnownTemplate {
  uint64_t fingerprint;
  ChatTemplate::Kind kind;
};

/// tests/python/test_tokenizer.py compares the renderings with those of transformers.
constexpr std::array<KnownTemplate, 4> kKnownTemplates{{
    {0x0069FAE55F9BBDCC, ChatTemplate::Kind::qwen3},   // Qwen3, as released
    {0xD9204720CD536859, ChatTemplate::Kind::qwen3},   // Qwen3, for content that is no string too
    {0xF47F0F21762D9A7D, ChatTemplate::Kind::qwen3},   // tools/make_qwen_tokenizer.py
    {0x6F3FAFB257D2A842, ChatTemplate::Kind::chatml},  // ChatML with the generation prompt
}};

std::string_view trim(std::string_view text, std::string_view characters) {
  const size_t begin = text.find_first_not_of(characters);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(characters) - begin + 1);
}

std::string_view trim_start(std::string_view text, std::string_view characters) {
  text.remove_prefix(std::min(text.find_first_not_of(characters), text.size()));
  return text;
}

std::string_view trim_end(std::string_view text, std::string_view characters) {
  return text.substr(0, text.find_last_not_of(characters) + 1);
}

std::optional<std::string> read_file(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return std::nullopt;
  const auto file = MappedFile::open(path);
  return std::string(reinterpret_cast<const char*>(file->data()), file->size());
}

constexpr std::string_view kThinkOpen = "<think>", kThinkClose = "</think>";

/// Reasoning and answer of an assistant's turn.
std::pair<std::string_view, std::string_view> split_reasoning(std::string_view content) {
  const size_t first = content.find(kThinkClose);
  if (first == std::string_view::npos) return {{}, content};
  std::string_view reasoning = trim_end(content.substr(0, first), "\n");
  if (const size_t open = reasoning.rfind(kThinkOpen); open != std::string_view::npos) {
    reasoning.remove_prefix(open + kThinkOpen.size());
  }
  const size_t last = content.rfind(kThinkClose);
  return {trim_start(reasoning, "\n"), trim_start(content.substr(last + kThinkClose.size()), "\n")};
}

/// Where the last turn is that asks something; what tools answered also stands in the user's turns.
size_t last_query(std::span<const ChatMessage> messages) {
  for (size_t i = messages.size(); i-- > 0;) {
    const std::string& content = messages[i].content;
    const bool is_tool_response =
        content.starts_with("<tool_response>") && content.ends_with("</tool_response>");
    if (messages[i].role == "user" && !is_tool_response) return i;
  }
  return messages.size() - 1;
}

std::string qwen3_content(std::span<const ChatMessage> messages, size_t i, size_t query) {
  if (messages[i].role != "assistant") return messages[i].content;
  const auto [reasoning, answer] = split_reasoning(messages[i].content);
  const bool last = i + 1 == messages.size();
  if (i <= query || (!last && reasoning.empty())) return std::string(answer);
  return fmt::format("<think>\n{}\n</think>\n\n{}", trim(reasoning, "\n"),
                     trim_start(answer, "\n"));
}

}  // namespace

uint64_t chat_template_fingerprint(std::string_view jinja) {
  uint64_t hash = 0xCBF29CE484222325;  // FNV-1a
  const auto add = [&](char byte) { hash = (hash ^ static_cast<uint8_t>(byte)) * 0x100000001B3; };
  for (size_t at = 0; at < jinja.size();) {
    const size_t end = std::min(jinja.find('\n', at), jinja.size());
    const std::string_view line = trim(jinja.substr(at, end - at), " \t\r");
    for (char byte : line) add(byte);
    if (!line.empty()) add('\n');
    at = end + 1;
  }
  return hash;
}

ChatTemplate ChatTemplate::recognize(std::string_view jinja, std::string_view source) {
  const uint64_t fingerprint = chat_template_fingerprint(jinja);
  for (const KnownTemplate& known : kKnownTemplates) {
    if (known.fingerprint == fingerprint) return ChatTemplate(known.kind);
  }
  fail(ErrorCode::unsupported, kStage, kRemedy,
       "expected the chat template of Qwen3 or plain ChatML in {}, got another (fingerprint "
       "{:016x})",
       source, fingerprint);
}

ChatTemplate ChatTemplate::from_folder(const std::filesystem::path& folder) {
  const auto template_path = folder / "chat_template.jinja";
  if (const auto jinja = read_file(template_path)) {
    return recognize(*jinja, template_path.string());
  }
  const auto config_path = folder / "tokenizer_config.json";
  if (const auto text = read_file(config_path)) {
    const Json config = parse_json(*text, kStage, config_path.string());
    if (!config.is_object()) {
      fail(ErrorCode::corrupt, kStage, "Use an undamaged tokenizer_config.json.",
           "expected a JSON object in '{}', got something else", config_path.string());
    }
    const auto found = config.find("chat_template");
    if (found != config.end() && found->is_string()) {
      return recognize(found->get_ref<const std::string&>(), config_path.string());
    }
    if (found != config.end() && !found->is_null()) {
      fail(ErrorCode::unsupported, kStage, kRemedy,
           "expected chat_template in '{}' to be one template as a string, got something else",
           config_path.string());
    }
  }
  fail(ErrorCode::not_found, kStage, kRemedy,
       "expected a chat template in '{}', as chat_template.jinja or in tokenizer_config.json, got "
       "none",
       folder.string());
}

std::string ChatTemplate::render(std::span<const ChatMessage> messages,
                                 const ChatOptions& options) const {
  if (messages.empty()) {
    fail(ErrorCode::invalid_argument, kStage, "Give at least one message.",
         "expected a conversation, got no messages");
  }
  if (kind_ == Kind::chatml && options.enable_thinking) {
    fail(ErrorCode::unsupported, kStage, "Leave it out: this model has no such switch.",
         "expected no choice about thinking for a plain ChatML template, got one");
  }
  const size_t query = last_query(messages);
  std::string text;
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    if (role != "system" && role != "user" && role != "assistant") {
      fail(ErrorCode::unsupported, kStage, kRemedy,
           "expected the role system, user or assistant in message {}, got '{}'", i, role);
    }
    text +=
        fmt::format("<|im_start|>{}\n{}<|im_end|>\n", role,
                    kind_ == Kind::qwen3 ? qwen3_content(messages, i, query) : messages[i].content);
  }
  if (options.add_generation_prompt) {
    text += "<|im_start|>assistant\n";
    if (options.enable_thinking == false) text += "<think>\n\n</think>\n\n";
  }
  return text;
}

}  // namespace ostinato::text
