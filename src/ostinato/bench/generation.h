#pragma once

#include <functional>

#include "ostinato/bench/bench.h"
#include "ostinato/bench/lane_process.h"
#include "ostinato/text/tokenizer.h"

namespace ostinato::bench {

/// The part of the report on continuing prompts: every lane but golden continues each greedily with
/// a KV cache, golden reads what they wrote, and all read one fixed text for its perplexity.
class GenerationBench {
 public:
  /// Encodes the prompts, so that what is wrong with them is known before anything is measured.
  /// Throws `invalid_argument` where a prompt and `max_new_tokens` exceed the model's context.
  GenerationBench(const BenchOptions& options, const runtime::Source& source);

  /// How often `run` will call `step`.
  size_t steps(size_t lanes) const;

  /// @param step is told what comes next
  Json run(std::vector<LaneProcess>& lanes, const std::function<void(const std::string&)>& step);

  /// Sentences on greedy tokens that no rounding explains; each fails the run.
  const std::vector<std::string>& failures() const { return failures_; }

 private:
  struct Prompt {
    std::string text;
    std::vector<int64_t> ids;
  };

  std::vector<int64_t> encode(const std::string& prompt) const;
  Json run_prompt(const Prompt& prompt, std::vector<LaneProcess>& lanes,
                  const std::function<void(const std::string&)>& step);
  Json continue_prompt(const Prompt& prompt, LaneProcess& lane) const;
  void judge(const Prompt& prompt, LaneProcess& golden, Json& lanes);
  Json perplexities(std::vector<LaneProcess>& lanes) const;

  const BenchOptions& options_;
  const runtime::Source& source_;
  text::Tokenizer tokenizer_;
  std::vector<Prompt> prompts_;
  int64_t capacity_ = 0;
  std::vector<std::string> failures_;
};

}  // namespace ostinato::bench
