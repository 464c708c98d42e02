#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace ostinato::text {

/// One turn of a conversation.
struct ChatMessage {
  std::string role;  ///< `system`, `user` or `assistant`
  std::string content;
};

struct ChatOptions {
  bool add_generation_prompt = true;  ///< end with the beginning of the assistant's turn
  /// False makes the model answer without reasoning. Unset is the template's default, which for
  /// Qwen3 is to think.
  std::optional<bool> enable_thinking;
};

/// A model's chat template, rendered natively. The engine does not run Jinja: it recognises the
/// templates that it implements and refuses every other.
///
/// A template is recognised by a 64-bit hash of its whole text, after the white space at both ends
/// of every line and empty lines are taken away. All templates in the list begin and end their
/// lines with tags that trim, so this changes nothing of what they render; any other change of a
/// template, be it one character, makes it an unknown one.
class ChatTemplate {
 public:
  enum class Kind {
    chatml,  ///< `<|im_start|>role\ncontent<|im_end|>\n` for every turn
    qwen3,   ///< ChatML with reasoning in <think>, kept only in turns after the last question
  };

  /// Reads `folder/chat_template.jinja`, or else the field `chat_template` of
  /// `folder/tokenizer_config.json`.
  /// @throws Error when there is none, or none that is known
  static ChatTemplate from_folder(const std::filesystem::path& folder);

  /// @param jinja the template's text
  /// @param source where it comes from, for the Error when it is not known
  static ChatTemplate recognize(std::string_view jinja, std::string_view source);

  Kind kind() const { return kind_; }

  /// The conversation as text, to be tokenized without special tokens.
  /// @throws Error for no messages, for a role other than the three, and for enable_thinking with a
  /// template that has no such switch
  std::string render(std::span<const ChatMessage> messages, const ChatOptions& options = {}) const;

 private:
  explicit ChatTemplate(Kind kind) : kind_(kind) {}

  Kind kind_;
};

/// The hash by which templates are recognised.
uint64_t chat_template_fingerprint(std::string_view jinja);

}  // namespace ostinato::text
