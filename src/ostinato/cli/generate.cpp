#include "ostinato/runtime/generate.h"

#include <cstdio>
#include <future>
#include <numeric>

#include "ostinato/base/error.h"
#include "ostinato/base/json.h"
#include "ostinato/bench/latency.h"
#include "ostinato/cli/cli.h"
#include "ostinato/cli/output.h"
#include "ostinato/cli/progress.h"
#include "ostinato/text/chat_template.h"
#include "ostinato/text/stream_decoder.h"
#include "ostinato/text/tokenizer.h"

namespace ostinato::cli {

namespace {

struct Flags : CommonFlags {
  std::vector<std::string> prompt_ids;
  std::optional<int64_t> max_new_tokens;
  bool chat = false, no_thinking = false, ignore_eos = false, no_kv_cache = false;
  std::string system;
};

std::string rendered(const Flags& flags, const std::string& prompt) {
  if (!flags.chat) {
    if (flags.no_thinking || !flags.system.empty()) {
      fail(ErrorCode::invalid_argument, "cli/generate", "Add --chat.",
           "--no-thinking and --system belong to the chat template");
    }
    return prompt;
  }
  const auto chat = text::ChatTemplate::from_folder(flags.model);
  std::vector<text::ChatMessage> messages;
  if (!flags.system.empty()) messages.push_back({"system", flags.system});
  messages.push_back({"user", prompt});
  text::ChatOptions options;
  if (flags.no_thinking) options.enable_thinking = false;
  return chat.render(messages, options);
}

/// One way to continue prompts, with the captures kept from one to the next.
class Session {
 public:
  explicit Session(const Flags& flags)
      : flags_(flags),
        engine_(parse_settings(flags.settings)),
        device_(device::get(flags.device)),
        cache_(open_cache(flags)),
        source_(open_source(flags, bar_.callback(), cache_)),
        generator_(model(), device_, program_options(),
                   {.capture_limit = static_cast<size_t>(engine_.capture_limit)}) {}

  /// How many tokens are to follow the prompt: as many as were asked for, else 128 or what the
  /// context has left.
  int64_t new_tokens(const std::vector<int64_t>& prompt) const {
    constexpr int64_t kUsual = 128;
    // The last token is never fed back.
    const int64_t left = model().context_length() + 1 - static_cast<int64_t>(prompt.size());
    return flags_.max_new_tokens.value_or(std::clamp(left, int64_t{1}, kUsual));
  }

  /// Throws for a prompt that cannot be continued as the flags say.
  void check(const std::vector<int64_t>& prompt) const {
    generator_.check(prompt, new_tokens(prompt));
  }

  runtime::Generation run(const std::vector<int64_t>& prompt, const runtime::OnToken& on_token) {
    runtime::GenerateOptions options;
    options.max_new_tokens = new_tokens(prompt);
    options.ignore_end = flags_.ignore_eos;
    options.kv_cache = !flags_.no_kv_cache;
    options.logits = false;
    return generator_(prompt, options, on_token);
  }

  runtime::Counters counters() const { return generator_.counters(); }

  /// Waits until packed weights are on disk for later starts.
  void finish() {
    if (cache_.packed != nullptr) cache_.packed->finish(bar_.callback());
  }

 private:
  runtime::ProgramOptions program_options() {
    runtime::ProgramOptions options{flags_.mode, flags_.threads, engine_.passes_off,
                                    bar_.callback()};
    options.packed_cache = cache_.packed;
    return options;
  }

  const importer::Model& model() const {
    if (source_.model()) return *source_.model();
    fail(ErrorCode::unsupported, "cli/generate", "Give the folder of a causal language model.",
         "{} does not generate text", flags_.model);
  }

  const Flags& flags_;
  EngineOptions engine_;
  device::Device& device_;
  ProgressBar bar_;
  runtime::CacheFolder cache_;
  runtime::Source source_;
  runtime::Generator generator_;
};

Json figures(const runtime::Generation& generation, size_t prompt_tokens) {
  Json result = {{"prompt_tokens", prompt_tokens},
                 {"tokens", generation.tokens},
                 {"first_token_ms", generation.first_token_ms},
                 {"token_ms", generation.token_ms},
                 {"stopped", generation.stopped}};
  if (!generation.token_ms.empty()) {
    const double median = bench::summarise(generation.token_ms).p50;
    result["ms_per_token"] = median;
    result["tokens_per_s"] = 1e3 / median;
  }
  return result;
}

void print_summary(const Json& result, const Session& session) {
  const runtime::Counters counters = session.counters();
  print_error("{} prompt tokens, first token after {:.1f} ms; {} new tokens",
              result["prompt_tokens"].get<size_t>(), result["first_token_ms"].get<double>(),
              result["tokens"].size());
  if (result.contains("tokens_per_s")) {
    print_error(", {:.2f} tokens/s ({:.2f} ms a token at the median)",
                result["tokens_per_s"].get<double>(), result["ms_per_token"].get<double>());
  }
  print_error("; {} captures, {} evicted\n", counters.captures, counters.evictions);
}

/// Without a tokenizer: ids in, ids out.
void continue_ids(const Flags& flags, Session& session, const std::vector<int64_t>& ids) {
  const runtime::OnToken show = [](int64_t token, const Tensor&) {
    output("{} ", token);
    flush_output();
    return true;
  };
  const auto generation = session.run(ids, flags.json ? runtime::OnToken() : show);
  const Json result = figures(generation, ids.size());
  if (flags.json) {
    output("{}\n", dump(result));
  } else {
    output("\n");
    print_summary(result, session);
  }
}

void continue_text(const Flags& flags, Session& session, const text::Tokenizer& tokenizer,
                   const std::string& prompt, const std::vector<int64_t>& ids) {
  text::StreamDecoder decoder(tokenizer, true, text::UnknownIds::skip);
  std::string text;
  const auto show = [&](const std::string& piece) {
    text += piece;
    if (flags.json) return;
    output("{}", piece);
    flush_output();
  };
  const auto generation = session.run(ids, [&](int64_t token, const Tensor&) {
    show(decoder.push(token));
    return true;
  });
  show(decoder.finish());
  Json result = figures(generation, ids.size());
  result["prompt"] = prompt;
  result["text"] = text;
  if (flags.json) {
    output("{}\n", dump(result));
  } else {
    output("\n");
    print_summary(result, session);
  }
}

void run(const Flags& flags) {
  if (flags.prompts.empty() == flags.prompt_ids.empty()) {
    fail(ErrorCode::invalid_argument, "cli/generate", "Give --prompt or --prompt-ids.",
         "expected one of --prompt and --prompt-ids, got {}",
         flags.prompts.empty() ? "none" : "both");
  }
  std::vector<std::vector<int64_t>> ids;  // all are checked before the first is continued
  for (const std::string& list : flags.prompt_ids) ids.push_back(parse_ids("--prompt-ids", list));
  // Beside the weights, as a large vocabulary takes a core about as long.
  std::future<text::Tokenizer> reading;
  if (ids.empty()) {
    reading = std::async(std::launch::async, text::Tokenizer::from_folder, flags.model);
  }
  Session session(flags);
  if (!ids.empty()) {
    for (const std::vector<int64_t>& prompt : ids) session.check(prompt);
    for (const std::vector<int64_t>& prompt : ids) continue_ids(flags, session, prompt);
    return session.finish();
  }
  const text::Tokenizer tokenizer = reading.get();
  for (const std::string& prompt : flags.prompts) {
    ids.push_back(
        tokenizer.encode(rendered(flags, prompt), {.add_special_tokens = !flags.chat}).ids);
    if (ids.back().empty()) {
      fail(ErrorCode::invalid_argument, "cli/--prompt", "Give a text of at least one token.",
           "expected a prompt, got one without tokens");
    }
    session.check(ids.back());
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    continue_text(flags, session, tokenizer, flags.prompts[i], ids[i]);
  }
  session.finish();
}

}  // namespace

void add_generate(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = app.add_subcommand("generate", "Greedy text generation, streamed");
  add_common_flags(*verb, *flags,
                   {"--device", "--dtype", "--mode", "--threads", "--set", "--weights", "--seed",
                    "--cache-dir", "--prompt", "--json"});
  verb->add_option("--prompt-ids", flags->prompt_ids, "Token ids, such as 1,2,3 (repeatable)")
      ->allow_extra_args(false);
  verb->add_option("--max-new-tokens", flags->max_new_tokens,
                   "At most so many; 128 if not given, or what the context has left")
      ->check(CLI::Range(1, 1 << 20));
  verb->add_flag("--chat", flags->chat, "Put the prompt into the model's chat template");
  verb->add_flag("--no-thinking", flags->no_thinking, "With --chat: answer without reasoning");
  verb->add_option("--system", flags->system, "With --chat: the system message");
  verb->add_flag("--ignore-eos", flags->ignore_eos, "Do not stop at the end token");
  verb->add_flag("--no-kv-cache", flags->no_kv_cache,
                 "The whole sequence again for every token, a capture for each length");
  verb->footer(
      "Examples:\n"
      "  ostinato generate qwen3-0.6b --chat --no-thinking --prompt 'What is the capital of "
      "France?'\n"
      "  ostinato generate qwen3-0.6b --prompt-ids 1,2,3 --max-new-tokens 8 --json");
  verb->callback([flags] { run(*flags); });
}

}  // namespace ostinato::cli
