#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;
struct pcre2_real_jit_stack_8;

namespace ostinato::text {

/// A stretch of a text that a pattern matched, or one between two matches, in bytes.
struct Segment {
  size_t begin, end;
  bool is_match;
};

/// A regular expression of a `tokenizer.json`. Those are written for Oniguruma, with Unicode
/// classes; where PCRE2 reads the same characters otherwise, they are translated, and what has no
/// translation is refused. Letters that came to Unicode after PCRE2's tables (version 14 in 10.42)
/// are no letters yet. Immutable: threads may share one.
class Regex {
 public:
  /// @param pattern Oniguruma (Ruby) syntax
  /// @param part names the part of the file in errors
  Regex(std::string_view pattern, std::string_view part);

  /// A pattern that matches exactly `text`.
  static std::string escape(std::string_view text);

 private:
  friend class RegexMatcher;
  struct Free {
    void operator()(pcre2_real_code_8* code) const;
  };
  std::unique_ptr<pcre2_real_code_8, Free> code_;
  std::string part_;
};

/// Runs one Regex; belongs to one thread.
class RegexMatcher {
 public:
  explicit RegexMatcher(const Regex& regex);

  /// Divides valid UTF-8 into matches and the stretches between, in order and without gap. An empty
  /// match counts unless it touches the end of the match before. An empty text gives one empty
  /// stretch. A pattern that runs away on the text is an Error.
  void segment(std::string_view text, std::vector<Segment>& segments);

 private:
  /// @return whether there is a match at or after `at`
  bool find(std::string_view text, size_t at, Segment& match);

  struct Free {
    void operator()(pcre2_real_match_data_8* data) const;
    void operator()(pcre2_real_match_context_8* context) const;
    void operator()(pcre2_real_jit_stack_8* stack) const;
  };
  const Regex& regex_;
  std::unique_ptr<pcre2_real_match_data_8, Free> data_;
  std::unique_ptr<pcre2_real_match_context_8, Free> context_;
  std::unique_ptr<pcre2_real_jit_stack_8, Free> stack_;
};

/// The PCRE2 pattern that matches what `pattern` matches under Oniguruma.
std::string translate_oniguruma(std::string_view pattern, std::string_view part);

}  // namespace ostinato::text
