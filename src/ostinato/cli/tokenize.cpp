#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ostinato/base/error.h"
#include "ostinato/cli/cli.h"
#include "ostinato/text/chat_template.h"
#include "ostinato/text/tokenizer.h"

namespace ostinato::cli {

namespace {

struct TokenizeOptions {
  std::string model;
  std::vector<std::string> texts;
  std::string file;
  bool whole = false;
  std::string ids;
  bool chat = false;
  bool no_thinking = false;
  std::string system;
  bool no_special = false;
  bool json = false;
};

void print(const std::string& line) { fmt::print("{}\n", line); }

/// JSON is UTF-8 whatever the input was.
std::string dump(const nlohmann::ordered_json& value) {
  return value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::vector<std::string> read_texts(const std::string& path, bool whole) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    fail(ErrorCode::not_found, "cli/tokenize", "Give --file a readable file.",
         "expected a file '{}', got none that can be read", path);
  }
  std::string content(std::istreambuf_iterator<char>(file), {});
  if (whole) return {std::move(content)};
  std::vector<std::string> lines;
  for (size_t at = 0; at < content.size();) {
    const size_t end = std::min(content.find('\n', at), content.size());
    lines.push_back(content.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

std::vector<int64_t> parse_ids(const std::string& list) {
  std::vector<int64_t> ids;
  for (size_t at = 0; at < list.size();) {
    const size_t end = std::min(list.find(',', at), list.size());
    int64_t id = 0;
    const char* last = list.data() + end;
    const auto [stop, error] = std::from_chars(list.data() + at, last, id);
    if (error != std::errc() || stop != last) {
      fail(ErrorCode::invalid_argument, "cli/tokenize", "Write them as --decode 1,2,3.",
           "expected --decode to be token ids with commas between, got '{}'", list);
    }
    ids.push_back(id);
    at = end + 1;
  }
  return ids;
}

void print_decoded(const text::Tokenizer& tokenizer, const TokenizeOptions& options) {
  const std::vector<int64_t> ids = parse_ids(options.ids);
  const std::string text = tokenizer.decode(ids, options.no_special);
  print(options.json ? dump({{"ids", ids}, {"text", text}}) : text);
}

void print_encoded(const std::string& text, const text::Encoding& encoding, bool json) {
  if (json) {
    return print(dump({{"text", text},
                       {"ids", encoding.ids},
                       {"pieces", encoding.pieces},
                       {"offsets", encoding.offsets}}));
  }
  print(fmt::format("{} tokens of {}", encoding.size(), dump(text)));
  print(fmt::format("{:>9}  {:>15}  {}", "id", "offsets", "piece"));
  for (size_t i = 0; i < encoding.size(); ++i) {
    const auto [begin, end] = encoding.offsets[i];
    print(fmt::format("{:>9}  {:>15}  {}", encoding.ids[i], fmt::format("{}..{}", begin, end),
                      dump(encoding.pieces[i])));
  }
}

void run(const TokenizeOptions& options) {
  const auto tokenizer = text::Tokenizer::from_folder(options.model);
  if (!options.ids.empty()) return print_decoded(tokenizer, options);
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
  verb->add_option("MODEL", options->model, "A folder with tokenizer.json")->required();
  auto* text = verb->add_option("--text", options->texts, "A text; may be repeated")
                   ->allow_extra_args(false);
  auto* file = verb->add_option("--file", options->file, "A file with one text a line");
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
