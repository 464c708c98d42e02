#include "ostinato/base/json.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace ostinato {
namespace {

using namespace std::string_literals;

void expect_corrupt(const std::string& text, const std::string& part) {
  expect_error([&] { parse_json(text, "test", "config.json", 4); }, ErrorCode::corrupt, part);
  expect_error([&] { parse_json(text, "test", "config.json", 4); }, ErrorCode::corrupt,
               "config.json");
}

TEST(ParseJson, ReadsWhatIsJson) {
  const Json json = parse_json(R"({"a": [1, 2.5, "x"], "b": {"a": null}})", "test", "text");
  EXPECT_EQ(json["a"][1], 2.5);
  EXPECT_TRUE(json["b"]["a"].is_null());
}

TEST(ParseJson, RefusesWhatIsNot) {
  expect_corrupt("", "line 1 (byte 0)");
  expect_corrupt("{\"a\": 1,\n \"b\" 2}", "line 2 (byte 14)");
  expect_corrupt("{} {}", "syntax error");
  expect_corrupt("{}\0 and more"s, "(byte 2)");
  expect_corrupt("[1e999]", "double precision");
  expect_corrupt("[\"\xff\"]", "syntax error");
}

TEST(ParseJson, RefusesDuplicateKeys) {
  expect_corrupt(R"({"a": 1, "a": 2})", "\"a\" twice");
  expect_corrupt(R"([{"b": {"a": 1, "\u0061": 2}}])", "\"a\" twice");
  EXPECT_NO_THROW(parse_json(R"([{"a": {"a": 1}}, {"a": 2}])", "test", "text"));
}

TEST(ParseJson, RefusesDeepNesting) {
  EXPECT_NO_THROW(parse_json("[[[[]]]]", "test", "text", 4));
  expect_corrupt("[[[[[]]]]]", "4 levels");
  expect_corrupt(std::string(1 << 20, '['), "4 levels");
}

TEST(Quote, EscapesWhatATerminalWouldObey) {
  EXPECT_EQ(quote("a\n\x1b[2J\""), R"("a\n\u001b[2J\"")");
  EXPECT_EQ(quote("\xff"), "\"\xef\xbf\xbd\"");
}

}  // namespace
}  // namespace ostinato
