#include "ostinato/text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>

#include "ostinato/base/error.h"
#include "ostinato/text/utf8.h"

namespace ostinato::text {

namespace {

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

struct FreeCompileContext {
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
};

}  // namespace

void Regex::Free::operator()(pcre2_code* code) const { pcre2_code_free(code); }

Regex::Regex(std::string_view pattern, std::string_view part) : part_(part) {
  const std::string translated = translate_oniguruma(pattern, part);
  const std::unique_ptr<pcre2_compile_context, FreeCompileContext> context(
      pcre2_compile_context_create(nullptr));
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context.get(), 100);
  int error = 0;
  PCRE2_SIZE offset = 0;
  // Oniguruma's `^` and `$` are those of lines.
  code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                            PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                            &error, &offset, context.get()));
  if (!code_) {
    fail(ErrorCode::corrupt, part_,
         "Correct the pattern; it is written in the syntax of Oniguruma with Unicode classes.",
         "expected a regular expression, got '{}' ({} at {} of '{}')", pattern, message_of(error),
         offset, translated);
  }
  pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);  // without JIT pcre2_match interprets
}

std::string Regex::escape(std::string_view text) {
  std::string escaped;
  for (char c : text) {
    if (std::string_view("\\.+*?()|[]{}^$#&-~").find(c) != std::string_view::npos) escaped += '\\';
    escaped += c;
  }
  return escaped;
}

void RegexMatcher::Free::operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
void RegexMatcher::Free::operator()(pcre2_match_context* context) const {
  pcre2_match_context_free(context);
}
void RegexMatcher::Free::operator()(pcre2_jit_stack* stack) const { pcre2_jit_stack_free(stack); }

RegexMatcher::RegexMatcher(const Regex& regex)
    : regex_(regex),
      data_(pcre2_match_data_create_from_pattern(regex.code_.get(), nullptr)),
      context_(pcre2_match_context_create(nullptr)),
      stack_(pcre2_jit_stack_create(32 * 1024, 8 * 1024 * 1024, nullptr)) {
  pcre2_jit_stack_assign(context_.get(), nullptr, stack_.get());
  pcre2_set_match_limit(context_.get(), 10'000'000);
  pcre2_set_heap_limit(context_.get(), 64 * 1024);  // KiB
}

bool RegexMatcher::find(std::string_view text, size_t at, Segment& match) {
  const int found = pcre2_match(regex_.code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()),
                                text.size(), at, PCRE2_NO_UTF_CHECK, data_.get(), context_.get());
  if (found == PCRE2_ERROR_NOMATCH) return false;
  if (found < 0) {
    fail(ErrorCode::unsupported, regex_.part_,
         "Use a pattern that backtracks less, or tokenize the text in parts.",
         "expected the pattern to match within its limits, got '{}' on a text of {} bytes",
         message_of(found), text.size());
  }
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data_.get());
  match = {bounds[0], bounds[1], true};
  return true;
}

void RegexMatcher::segment(std::string_view text, std::vector<Segment>& segments) {
  segments.clear();
  if (text.empty()) {
    segments.push_back({0, 0, false});
    return;
  }
  size_t end = 0;  // of the segments so far
  bool matched = false;
  Segment match{};
  for (size_t at = 0; at <= text.size() && find(text, at, match);) {
    if (match.begin >= match.end && matched && match.end == end) {
      at = match.end + (match.end < text.size() ? utf8_length(text[match.end]) : 1);
      continue;
    }
    if (match.begin != end) segments.push_back({end, match.begin, false});
    segments.push_back(match);
    at = end = match.end;
    matched = true;
  }
  if (end != text.size()) segments.push_back({end, text.size(), false});
}

}  // namespace ostinato::text
