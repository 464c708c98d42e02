#include "ostinato/text/utf8.h"

#include <gtest/gtest.h>

namespace ostinato::text {
namespace {

TEST(Utf8, KeepsEveryCodePoint) {
  for (char32_t c = 1; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    append_utf8(text, c);
    ASSERT_TRUE(is_valid_utf8(text)) << static_cast<uint32_t>(c);
    ASSERT_EQ(code_point_at(text, 0), c);
    ASSERT_EQ(last_code_point("x" + text), c);
    ASSERT_EQ(utf8_length(text[0]), text.size());
    ASSERT_EQ(replace_invalid_utf8(text), text);
  }
}

// Expected values from Python: bytes.decode("utf-8", errors="replace").
TEST(Utf8, ReplacesMaximalSubparts) {
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(replace_invalid_utf8("a\x80z"), "a" + r + "z");
  EXPECT_EQ(replace_invalid_utf8("\xF0\x9F\x98"), r);
  EXPECT_EQ(replace_invalid_utf8("\xF0\x9F\x98x"), r + "x");
  EXPECT_EQ(replace_invalid_utf8("\xE0\x80\xAF"), r + r + r);
  EXPECT_EQ(replace_invalid_utf8("\xED\xA0\x80"), r + r + r);
  EXPECT_EQ(replace_invalid_utf8("\xF4\x90\x80\x80"), r + r + r + r);
  EXPECT_EQ(replace_invalid_utf8("\xC0\xAF"), r + r);
  EXPECT_EQ(replace_invalid_utf8("\xE2\x82\xAC\xE2\x82"), "\xE2\x82\xAC" + r);
}

TEST(Utf8, TellsTruncatedFromInvalid) {
  EXPECT_EQ(utf8_step("\xE4\xBD", 0).kind, Utf8Step::Kind::truncated);
  EXPECT_EQ(utf8_step("\xE4\xBD", 0).length, 2u);
  EXPECT_EQ(utf8_step("\xE4x", 0).kind, Utf8Step::Kind::invalid);
  EXPECT_EQ(utf8_step("\xE0\x80", 0).kind, Utf8Step::Kind::invalid);
}

}  // namespace
}  // namespace ostinato::text
