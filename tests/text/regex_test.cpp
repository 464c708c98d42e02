#include "ostinato/text/regex.h"

#include <gmock/gmock.h>

#include "ostinato/error.h"

namespace ostinato::text {
namespace {

/// The matches, with what lies between in parentheses.
std::string matches(std::string_view pattern, std::string_view text) {
  const Regex regex(pattern, "test");
  std::vector<Segment> segments;
  RegexMatcher(regex).segment(text, segments);
  std::string out;
  for (const Segment& segment : segments) {
    const std::string part(text.substr(segment.begin, segment.end - segment.begin));
    out += segment.is_match ? "[" + part + "]" : "(" + part + ")";
  }
  return out;
}

// Expected values from tokenizers.pre_tokenizers.Split(Regex(...), "isolated").
TEST(Regex, SegmentsLikeOniguruma) {
  EXPECT_EQ(matches("\\d+", "a12b3"), "(a)[12](b)[3]");
  EXPECT_EQ(matches("\\s+(?!\\S)|\\s+", "a   b"), "(a)[  ][ ](b)");
  EXPECT_EQ(matches("(?i:'s|'t)", "it'S\xE2\x80\x99s"), "(it)['S](\xE2\x80\x99s)");
  EXPECT_EQ(matches("^b", "a\nb"), "(a\n)[b]");  // `^` is the beginning of a line
  EXPECT_EQ(matches(".", "a\nb"), "[a](\n)[b]");
  EXPECT_EQ(matches("\\bx\\b", "x xx"), "[x]( xx)");
  EXPECT_EQ(matches("a{,2}b", "aab"), "[aab]");
  EXPECT_EQ(matches("\\h", "xf"), "(x)[f]");  // a hexadecimal digit
  EXPECT_EQ(matches("[\\u00e9]", "\xC3\xA9"), "[\xC3\xA9]");
}

TEST(Regex, WhiteSpaceIsThePropertyOfThatName) {
  EXPECT_EQ(matches("\\s", "\xE1\xA0\x8E"), "(\xE1\xA0\x8E)");  // U+180E, to PCRE2 a space
  EXPECT_EQ(matches("\\s", "\xC2\x85"), "[\xC2\x85]");
}

TEST(Regex, EmptyMatchesCountOnceAPlace) {
  EXPECT_EQ(matches("x*", "axb"), "[](a)[x](b)[]");
  EXPECT_EQ(matches("", ""), "()");
}

TEST(Regex, EscapesLiterals) {
  const std::string literal = "a.b*[c]\\d{2}(e)|^$?+#&-~";
  EXPECT_EQ(matches(Regex::escape(literal), "x" + literal), "(x)[" + literal + "]");
}

TEST(Regex, RefusesWhatItCannotTranslate) {
  for (const char* pattern : {"[a[b]]", "[a&&b]", "\\K", "(?<n>a)", "a{1,2}+", "[\\W]", "\\1",
                              "(?m:.)", "[]", "[a", "a\\", "\\p", "\\x80", "(*FAIL)", "\\Qa\\E"}) {
    EXPECT_THROW(Regex(pattern, "test"), Error) << pattern;
  }
}

TEST(Regex, RefusesWhatIsNoPattern) {
  for (const char* pattern : {"(", "a)", "*", "\\p{Nonsense}", "[z-a]"}) {
    EXPECT_THROW(Regex(pattern, "test"), Error) << pattern;
  }
}

TEST(Regex, StopsAPatternThatRunsAway) {
  const Regex regex("(a+)+$", "test");
  std::vector<Segment> segments;
  try {
    RegexMatcher(regex).segment(std::string(64, 'a') + "b", segments);
    FAIL() << "expected an Error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("within its limits"));
  }
}

}  // namespace
}  // namespace ostinato::text
