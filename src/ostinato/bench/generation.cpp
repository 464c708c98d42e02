#include "ostinato/bench/generation.h"

#include <algorithm>

#include "ostinato/base/error.h"
#include "ostinato/bench/latency.h"
#include "ostinato/runtime/generate.h"
#include "ostinato/text/chat_template.h"

namespace ostinato::bench {

namespace {

constexpr std::string_view kStage = "bench/generation";
/// A greedy flip is rounding while the two tokens' golden logits are at most this far apart, in
/// the lane's dtype.
constexpr double kFlipMargin = 1e-2;
constexpr double kReducedFlipMargin = 0.7;
/// What perplexity is taken of: the beginning of Lewis Carroll's "Alice's Adventures in Wonderland"
/// (1865).
constexpr std::string_view kFixedText =
    "Alice was beginning to get very tired of sitting by her sister on the bank, and of having "
    "nothing to do: once or twice she had peeped into the book her sister was reading, but it had "
    "no pictures or conversations in it, “and what is the use of a book,” thought Alice “without "
    "pictures or conversations?”";

LaneProcess* find(std::vector<LaneProcess>& lanes, std::string_view name) {
  const auto found = std::find_if(lanes.begin(), lanes.end(),
                                  [name](const LaneProcess& lane) { return lane.name() == name; });
  return found == lanes.end() ? nullptr : &*found;
}

}  // namespace

GenerationBench::GenerationBench(const BenchOptions& options, const runtime::Source& source)
    : options_(options), source_(source), tokenizer_(text::Tokenizer::from_folder(options.model)) {
  const int64_t context_length = source.model()->context_length();
  for (const std::string& prompt : options.inputs.texts) {
    prompts_.push_back({prompt, encode(prompt)});
    const auto length = static_cast<int64_t>(prompts_.back().ids.size());
    const int64_t needed = length + options.max_new_tokens;
    if (needed - 1 > context_length) {
      fail(ErrorCode::invalid_argument, kStage, "Shorten the prompt or lower --max-new-tokens.",
           "expected at most {} tokens in all, got a prompt of {} and {} new ones", context_length,
           length, options.max_new_tokens);
    }
    capacity_ = std::max(capacity_, std::min(context_length, runtime::prefill_bucket(needed)));
  }
}

std::vector<int64_t> GenerationBench::encode(const std::string& prompt) const {
  const auto chat = text::ChatTemplate::from_folder(options_.model);
  const text::ChatMessage message{"user", prompt};
  text::ChatOptions options;
  if (chat.kind() == text::ChatTemplate::Kind::qwen3) options.enable_thinking = false;
  return tokenizer_.encode(chat.render({&message, 1}, options), {.add_special_tokens = false}).ids;
}

size_t GenerationBench::steps(size_t lanes) const { return prompts_.size() * lanes + 1; }

Json GenerationBench::run(std::vector<LaneProcess>& lanes,
                          const std::function<void(const std::string&)>& step) {
  step("all lanes read a fixed text");
  Json perplexity = perplexities(lanes);  // first, on the programs of the batches
  Json prompts = Json::array();
  for (const Prompt& prompt : prompts_) prompts.push_back(run_prompt(prompt, lanes, step));
  return {{"prompts", std::move(prompts)},
          {"max_new_tokens", options_.max_new_tokens},
          {"perplexity", std::move(perplexity)}};
}

Json GenerationBench::run_prompt(const Prompt& prompt, std::vector<LaneProcess>& lanes,
                                 const std::function<void(const std::string&)>& step) {
  Json result = {{"prompt", prompt.text}, {"prompt_tokens", prompt.ids.size()}};
  std::string_view shown = kGraph;
  if (find(lanes, kGraph) == nullptr) {
    shown = std::find_if(lanes.begin(), lanes.end(), [](const LaneProcess& lane) {
              return lane.name() != kGolden;
            })->name();
  }
  for (LaneProcess& lane : lanes) {
    if (lane.name() == kGolden) continue;
    step(fmt::format("{} continues \"{}\"", lane.name(), prompt.text));
    result["lanes"][lane.name()] = continue_prompt(prompt, lane);
  }
  if (LaneProcess* golden = find(lanes, kGolden); golden != nullptr) {
    step("golden reads what was generated");
    judge(prompt, *golden, result["lanes"]);
  }
  for (const char* key : {"text", "tokens", "first_token_ms", "ms_per_token", "tokens_per_s"}) {
    result[key] = result["lanes"][shown][key];
  }
  return result;
}

Json GenerationBench::continue_prompt(const Prompt& prompt, LaneProcess& lane) const {
  Json figures = lane.prepare_generation(prompt.ids, options_.max_new_tokens, capacity_);
  figures.update(lane.generate(prompt.ids, options_.max_new_tokens));
  const auto tokens = figures["tokens"].get<std::vector<int64_t>>();
  const auto times = figures["token_ms"].get<std::vector<double>>();
  const double median = summarise(times).p50;
  figures["text"] = tokenizer_.decode(tokens, true, text::UnknownIds::skip);
  figures["ms_per_token"] = times.empty() ? Json(nullptr) : Json(median);
  figures["tokens_per_s"] = times.empty() ? Json(nullptr) : Json(1e3 / median);
  figures.update(lane.memory());
  return figures;
}

void GenerationBench::judge(const Prompt& prompt, LaneProcess& golden, Json& lanes) {
  const DType dtype = options_.dtype.value_or(source_.dtype());
  const double limit = dtype == DType::float32 ? kFlipMargin : kReducedFlipMargin;
  for (auto& [name, figures] : lanes.items()) {
    const Json verdict = golden.judge(prompt.ids, figures["tokens"].get<std::vector<int64_t>>());
    figures.update(verdict);
    figures["flip_margin_limit"] = limit;
    const Json& flip = verdict["first_flip"];
    if (flip.is_null() || flip["margin"].get<double>() <= limit) continue;
    failures_.push_back(
        fmt::format("{} leaves golden at token {} of \"{}\" by a margin of {:.3g}, and {} explains "
                    "{} at most.",
                    name, flip["position"].get<int64_t>(), prompt.text,
                    flip["margin"].get<double>(), ostinato::name_of(dtype), limit));
  }
}

Json GenerationBench::perplexities(std::vector<LaneProcess>& lanes) const {
  std::vector<int64_t> ids = tokenizer_.encode(kFixedText, {.add_special_tokens = false}).ids;
  const auto longest = static_cast<size_t>(source_.model()->context_length());
  ids.resize(std::min(ids.size(), longest));
  Json values = Json::object();
  for (LaneProcess& lane : lanes) values[lane.name()] = lane.perplexity(ids);
  for (auto& [name, figures] : values.items()) {
    const Json golden = values.contains(kGolden) ? values[kGolden]["perplexity"] : Json(nullptr);
    if (name == kGolden || golden.is_null() || figures["perplexity"].is_null()) continue;
    const auto reference = golden.get<double>();
    figures["ppl_rel_diff"] = std::abs(figures["perplexity"].get<double>() - reference) / reference;
  }
  return {{"text", kFixedText}, {"tokens", ids.size()}, {"lanes", std::move(values)}};
}

}  // namespace ostinato::bench
