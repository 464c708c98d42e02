#include "ostinato/runtime/generate.h"

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>

#include "ostinato/base/dtype.h"
#include "ostinato/base/error.h"
#include "ostinato/runtime/token_queue.h"

namespace ostinato::runtime {

namespace {

constexpr std::string_view kStage = "runtime/generate";

using Clock = std::chrono::steady_clock;

void check_prompt(std::span<const int64_t> prompt) {
  if (prompt.empty()) {
    fail(ErrorCode::invalid_argument, kStage, "Give a prompt of at least one token.",
         "expected a prompt, got an empty one");
  }
}

/// Only the symbols that the graph has: its batch may be fixed.
ir::Bindings one_sequence(const Program& program, int64_t length) {
  ir::Bindings bindings;
  for (const std::string& symbol : program.symbols()) bindings[symbol] = symbol == "s" ? length : 1;
  return bindings;
}

/// The tokens so far, their times, and whether to go on.
class Progress {
 public:
  Progress(const GenerateLimits& limits, const OnToken& on_token)
      : limits_(limits), on_token_(on_token) {}

  /// From now on the engine works while the callback runs, whose time so is part of a token's.
  void overlap() { overlaps_ = true; }

  /// Takes tokens that came together, and so share the time; false when the last is among them.
  bool take(std::span<const int64_t> tokens, const Tensor& logits) {
    const Clock::time_point arrival = Clock::now();
    const double elapsed = std::chrono::duration<double, std::milli>(arrival - start_).count() /
                           static_cast<double>(tokens.size());
    for (const int64_t token : tokens) {
      if (!take(token, logits, elapsed)) return false;
    }
    start_ = overlaps_ ? arrival : Clock::now();
    return true;
  }

  Generation result;

 private:
  bool take(int64_t token, const Tensor& logits, double elapsed) {
    if (result.tokens.empty()) {
      result.first_token_ms = elapsed;
    } else {
      result.token_ms.push_back(elapsed);
    }
    result.tokens.push_back(token);
    const auto& stops = limits_.stop_tokens;
    result.stopped = std::find(stops.begin(), stops.end(), token) != stops.end();
    if (on_token_ && !on_token_(token, logits)) result.stopped = true;
    const auto count = static_cast<int64_t>(result.tokens.size());
    return !result.stopped && count < limits_.max_new_tokens;
  }

  const GenerateLimits& limits_;
  const OnToken& on_token_;
  bool overlaps_ = false;
  Clock::time_point start_ = Clock::now();
};

/// One call of a decoder graph on buffers that are made once.
class Step {
 public:
  /// @param cached whether the graph keeps a KV cache, and so takes a position
  Step(Context& context, bool cached) : context_(context), cached_(cached) {
    const ir::Graph& graph = context.program().graph();
    for (const ir::Output& output : graph.outputs()) {
      const ir::ValueType& type = output.value->type;
      if (output.name == "logits") logits_ = Tensor::empty(type.dtype, {type.shape.back().value()});
      if (output.name == "next_token") next_ = Tensor::empty(type.dtype, {1});
    }
    if (!logits_.defined() || !next_.defined() || graph.inputs().size() != (cached ? 3 : 2)) {
      fail(ErrorCode::invalid_argument, kStage, "Give a decoder graph.",
           "expected inputs input_ids{} and last, and outputs logits and next_token",
           cached ? ", position" : "");
    }
    outputs_ = {logits_.data(), next_.data()};
  }

  /// Feeds the tokens, padded to `length`, at this position of the cache; gives the next token.
  int64_t operator()(std::span<const int64_t> tokens, int64_t length, int64_t position) {
    ids_.assign(tokens.begin(), tokens.end());
    ids_.resize(static_cast<size_t>(length), 0);
    int64_t last = static_cast<int64_t>(tokens.size()) - 1;
    void* with_cache[] = {ids_.data(), &position, &last};
    void* without[] = {ids_.data(), &last};
    const std::span<void* const> inputs =
        cached_ ? std::span<void* const>(with_cache) : std::span<void* const>(without);
    prepare(length)({inputs, outputs_});
    return next_.as<int64_t>()[0];
  }

  Executable& prepare(int64_t length) {
    if (length != prepared_length_) {
      prepared_ = &context_.prepare(one_sequence(context_.program(), length));
      prepared_length_ = length;
    }
    return *prepared_;
  }

  const Tensor& logits() const { return logits_; }
  std::span<void* const> outputs() const { return outputs_; }

 private:
  Context& context_;
  bool cached_;
  Tensor logits_, next_;
  std::array<void*, 2> outputs_{};
  std::vector<int64_t> ids_;
  Executable* prepared_ = nullptr;
  int64_t prepared_length_ = 0;
};

void add(Counters& sum, const Counters& counters) {
  sum.captures += counters.captures;
  sum.evictions += counters.evictions;
}

}  // namespace

int64_t prefill_bucket(int64_t length) {
  const auto magnitude = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(length)));
  const int64_t step = std::max<int64_t>(16, magnitude / 4);
  return (length + step - 1) / step * step;
}

Generation generate_cached(Context& context, std::span<const int64_t> prompt, int64_t capacity,
                           const GenerateLimits& limits, const OnToken& on_token) {
  check_prompt(prompt);
  int64_t position = static_cast<int64_t>(prompt.size());
  if (limits.max_new_tokens < 1) return {};
  if (position + limits.max_new_tokens - 1 > capacity) {
    fail(ErrorCode::invalid_argument, kStage, "Shorten the prompt or ask for fewer new tokens.",
         "expected at most {} tokens in all, got a prompt of {} and {} new ones", capacity + 1,
         position, limits.max_new_tokens);
  }
  const bool wants_logits = on_token && limits.logits;
  Progress progress(limits, on_token);
  Step step(context, true);
  int64_t token = step(prompt, std::min(prefill_bucket(position), capacity), 0);
  if (!progress.take({&token, 1}, wants_logits ? step.logits() : Tensor())) {
    return std::move(progress.result);
  }
  if (!wants_logits && step.prepare(1).is_captured()) {
    if (!context.program().device().shares_host_memory()) progress.overlap();
    TokenQueue tokens(step.prepare(1), token, position, step.outputs(),
                      {limits.max_new_tokens - 1, limits.stop_tokens, bool(on_token)});
    while (progress.take(tokens.next(), {})) {
    }
    return std::move(progress.result);
  }
  do {
    token = step({&token, 1}, 1, position++);
  } while (progress.take({&token, 1}, wants_logits ? step.logits() : Tensor()));
  return std::move(progress.result);
}

Generation generate_growing(Context& context, std::span<const int64_t> prompt,
                            const GenerateLimits& limits, const OnToken& on_token) {
  check_prompt(prompt);
  if (limits.max_new_tokens < 1) return {};
  Progress progress(limits, on_token);
  std::vector<int64_t> ids(prompt.begin(), prompt.end());
  Step step(context, false);
  for (;;) {
    const int64_t token = step(ids, static_cast<int64_t>(ids.size()), 0);
    if (!progress.take({&token, 1}, limits.logits ? step.logits() : Tensor()))
      return std::move(progress.result);
    ids.push_back(token);
  }
}

Generator::Generator(importer::Model model, device::Device& device, ProgramOptions program_options,
                     ContextOptions context_options)
    : model_(std::move(model)),
      device_(device),
      program_options_(std::move(program_options)),
      context_options_(std::move(context_options)) {
  if (!model_.generates()) {
    fail(ErrorCode::unsupported, kStage,
         "Use `ostinato run`, or give a causal language model such as Qwen3.",
         "{} does not generate text", model_.folder().string());
  }
  model_.require_greedy();
}

void Generator::check(std::span<const int64_t> prompt, int64_t max_new_tokens) const {
  check_prompt(prompt);
  if (max_new_tokens < 1) {
    fail(ErrorCode::invalid_argument, kStage, "Ask for one new token or more.",
         "expected at least one new token, got {}", max_new_tokens);
  }
  // The last new token is never fed back, and so needs no room.
  const auto length = static_cast<int64_t>(prompt.size());
  const int64_t context_length = model_.context_length();
  if (length > context_length || max_new_tokens - 1 > context_length - length) {
    fail(ErrorCode::invalid_argument, kStage,
         "Shorten the prompt or ask for fewer new tokens (--max-new-tokens).",
         "expected at most {} tokens before the last, got a prompt of {} and {} new ones",
         context_length, length, max_new_tokens);
  }
  const int64_t vocabulary = model_.inputs().at(0).values;
  for (int64_t id : prompt) {
    if (id >= 0 && id < vocabulary) continue;
    fail(ErrorCode::invalid_argument, kStage,
         "Give ids of this model's vocabulary, or the tokenizer that belongs to it.",
         "expected token ids from 0 to {}, got {}", vocabulary - 1, id);
  }
}

std::unique_ptr<Context> Generator::open(ir::Graph graph) const {
  return std::make_unique<Context>(
      std::make_shared<const Program>(std::move(graph), device_, program_options_),
      context_options_);
}

Context& Generator::cached(int64_t capacity) {
  if (cached_ == nullptr || capacity > capacity_) {
    std::unique_ptr<Context> larger = open(model_.decoder(capacity));
    if (cached_ != nullptr) add(earlier_, cached_->counters());
    cached_ = std::move(larger);
    capacity_ = capacity;
  }
  return *cached_;
}

Generation Generator::operator()(std::span<const int64_t> prompt, const GenerateOptions& options,
                                 const OnToken& on_token) {
  check(prompt, options.max_new_tokens);
  GenerateLimits limits{options.max_new_tokens, options.stop_tokens, options.logits};
  if (!options.ignore_end) {
    const auto& end = model_.generation().eos;
    limits.stop_tokens.insert(limits.stop_tokens.end(), end.begin(), end.end());
  }
  if (!options.kv_cache) {
    if (growing_ == nullptr) growing_ = open(model_.decoder(std::nullopt));
    return generate_growing(*growing_, prompt, limits, on_token);
  }
  const int64_t needed = static_cast<int64_t>(prompt.size()) + options.max_new_tokens - 1;
  Context& context = cached(std::min(model_.context_length(), prefill_bucket(needed)));
  return generate_cached(context, prompt, capacity_, limits, on_token);
}

Counters Generator::counters() const {
  Counters sum = earlier_;
  for (const Context* context : {cached_.get(), growing_.get()}) {
    if (context != nullptr) add(sum, context->counters());
  }
  return sum;
}

}  // namespace ostinato::runtime
