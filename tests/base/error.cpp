#include "ostinato/base/error.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace ostinato {
namespace {

TEST(Nearest, IsWhatAPersonMeant) {
  const std::vector<std::string_view> verbs = {"run", "generate", "tokenize", "inspect"};
  EXPECT_EQ(nearest("rnu", verbs), "run");
  EXPECT_EQ(nearest("genrate", verbs), "generate");
  EXPECT_EQ(nearest("tokenise", verbs), "tokenize");
  EXPECT_EQ(nearest("inspectt", verbs), "inspect");
  EXPECT_EQ(nearest("xyz", verbs), "");
  EXPECT_EQ(nearest("", verbs), "");
  EXPECT_EQ(nearest("run", {}), "");
}

TEST(Naming, PutsTheFileInFront) {
  EXPECT_EQ(naming("a.json", [] { return 7; }), 7);
  const auto bad = [] { fail(ErrorCode::corrupt, "s", "Fetch it.", "expected a, got b"); };
  expect_error([&] { naming("a.json", bad); }, ErrorCode::corrupt,
               "[s] a.json: expected a, got b. Fetch it.");
}

}  // namespace
}  // namespace ostinato
