#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ostinato/base/error.h"
#include "ostinato/base/mapped_file.h"
#include "ostinato/cli/cli.h"
#include "ostinato/cli/output.h"
#include "ostinato/text/chat_template.h"
#include "ostinato/text/tokenizer.h"

namespace ostinato::cli {

namespace {

struct TokenizeOptions {
  std::string model;
  std::vector<std::string> texts;
  std::string file;
  bool whole = false;
  std::optional<std::string> ids;
  bool chat = false;
  bool no_thinking = false;
  std::string system;
  bool no_special = false;
  bool json = false;
};

using OrderedJson = nlohmann::ordered_json;

std::vector<std::string> read_texts(const std::string& path, bool whole) {
  const auto file = MappedFile::open(path);
  const std::string_view content(reinterpret_cast<const char*>(file->data()), file->size());
  if (whole) return {std::string(content)};
  std::vector<std::string> lines;
  for (size_t at = 0; at < content.size();) {
    const size_t end = std::min(content.find('\n', at), content.size());
    lines.emplace_back(content.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

void print_decoded(const text::Tokenizer& tokenizer, const std::string& list,
                   const TokenizeOptions& options) {
  const std::vector<int64_t> ids = parse_ids("--decode", list);
  const std::string text = tokenizer.decode(ids, options.no_special);
  output("{}\n", options.json ? dump(OrderedJson{{"ids", ids}, {"text", text}}) : text);
}

void print_encoded(const std::string& text, const text::Encoding& encoding, bool json) {
  if (json) {
    return output("{}\n", dump(OrderedJson{{"text", text},
                                           {"ids", encoding.ids},
                                           {"pieces", encoding.pieces},
                                           {"offsets", encoding.offsets}}));
  }
  output("{} tokens of {}\n", encoding.size(), dump(OrderedJson(text)));
  output("{:>9}  {:>15}  {}\n", "id", "offsets", "piece");
  for (size_t i = 0; i < encoding.size(); ++i) {
    const auto [begin, end] = encoding.offsets[i];
    output("{:>9}  {:>15}  {}\n", encoding.ids[i], fmt::format("{}..{}", begin, end),
           dump(OrderedJson(encoding.pieces[i])));
  }
}

void run(const TokenizeOptions& options) {
  const auto tokenizer = text::Tokenizer::from_folder(options.model);
  if (options.ids) return print_decoded(tokenizer, *options.ids, options);
  std::vector<std::string> texts = options.texts;
  if (!options.file.empty()) {
    for (std::string& text : read_texts(options.file, options.whole)) {
      texts.push_back(std::move(text));
    }
  }
  text::EncodeOptions encode_options;
  encode_options.add_special_tokens = !options.no_special;
  std::optional<text::ChatTemplate> chat;
  if (options.chat) chat = text::ChatTemplate::from_folder(options.model);
  for (std::string& text : texts) {
    if (chat) {
      std::vector<text::ChatMessage> messages;
      if (!options.system.empty()) messages.push_back({"system", options.system});
      messages.push_back({"user", text});
      text::ChatOptions chat_options;
      if (options.no_thinking) chat_options.enable_thinking = false;
      text = chat->render(messages, chat_options);
    }
    print_encoded(text, tokenizer.encode(text, encode_options), options.json);
  }
}

}  // namespace

void add_tokenize(CLI::App& app) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* verb = app.add_subcommand("tokenize", "Token ids, pieces and offsets of texts");
  verb->footer(
      "Examples:\n"
      "  ostinato tokenize models/qwen3 --text 'Hello, world'\n"
      "  ostinato tokenize models/qwen3 --text 'Hello' --chat --no-thinking --json\n"
      "  ostinato tokenize models/bert --file sentences.txt --json\n"
      "  ostinato tokenize models/qwen3 --decode 9707,11,1879\n");
  verb->add_option("MODEL", options->model, "A folder with tokenizer.json")
      ->required()
      ->check(is_path());
  auto* text = verb->add_option("--text", options->texts, "A text; may be repeated")
                   ->allow_extra_args(false);
  auto* file =
      verb->add_option("--file", options->file, "A file with one text a line")->check(is_path());
  verb->add_flag("--whole", options->whole, "The file is one text")->needs(file);
  auto* ids = verb->add_option("--decode", options->ids, "Token ids to turn into text: 1,2,3")
                  ->excludes(text)
                  ->excludes(file);
  auto* chat = verb->add_flag("--chat", options->chat, "Apply the chat template to every text")
                   ->excludes(ids);
  verb->add_flag("--no-thinking", options->no_thinking, "Let the template switch thinking off")
      ->needs(chat);
  verb->add_option("--system", options->system, "The system message")->needs(chat);
  verb->add_flag("--no-special", options->no_special,
                 "Add no special tokens; with --decode, leave them out of the text");
  verb->add_flag("--json", options->json, "One JSON object a text and line");
  verb->callback([options, text, file, ids] {
    if (!*text && !*file && !*ids) {
      throw CLI::RequiredError("One of --text, --file and --decode");
    }
    run(*options);
  });
}

}  // namespace ostinato::cli
