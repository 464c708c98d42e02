#include "ostinato/text/unicode.h"

#include <gtest/gtest.h>

#include "ostinato/text/aligned_text.h"
#include "ostinato/text/normalizer.h"

namespace ostinato::text {
namespace {

std::vector<char32_t> code_points(const std::vector<NormalizedCodePoint>& text) {
  std::vector<char32_t> out;
  for (const auto& c : text) out.push_back(c.code_point);
  return out;
}

// Expected values from Python's unicodedata.normalize.
TEST(Unicode, Normalizes) {
  using V = std::vector<char32_t>;
  EXPECT_EQ(code_points(normalize({U'e', 0x301}, NormalForm::nfc)), V{0xE9});
  EXPECT_EQ(code_points(normalize({0xE9}, NormalForm::nfd)), (V{U'e', 0x301}));
  EXPECT_EQ(code_points(normalize({0x1E9B, 0x323}, NormalForm::nfc)), (V{0x1E9B, 0x323}));
  EXPECT_EQ(code_points(normalize({0x1E9B, 0x323}, NormalForm::nfkc)), V{0x1E69});
  EXPECT_EQ(code_points(normalize({U'a', 0x308, 0x323}, NormalForm::nfd)), (V{U'a', 0x323, 0x308}));
  EXPECT_EQ(code_points(normalize({U'a', 0x308, 0x323}, NormalForm::nfc)), (V{0x1EA1, 0x308}));
  EXPECT_EQ(code_points(normalize({0x1100, 0x1161, 0x11A8}, NormalForm::nfc)), V{0xAC01});
  EXPECT_EQ(code_points(normalize({0xFB03}, NormalForm::nfkd)), (V{U'f', U'f', U'i'}));
  EXPECT_EQ(code_points(normalize({0x2126}, NormalForm::nfc)), V{0x3A9});
}

TEST(Unicode, AccountsForEveryOldCodePoint) {
  for (NormalForm form : {NormalForm::nfc, NormalForm::nfd, NormalForm::nfkc, NormalForm::nfkd}) {
    const std::vector<char32_t> text{U'e', 0x301, 0xFDFA, 0x1100, 0x1161,
                                     U'a', 0x308, 0x323,  0x344};
    unsigned replaced = 0;
    for (const auto& c : normalize(text, form)) replaced += c.replaces;
    EXPECT_EQ(replaced, text.size());
  }
}

TEST(Unicode, StableCodePointsAreLeftAlone) {
  for (NormalForm form : {NormalForm::nfc, NormalForm::nfd, NormalForm::nfkc, NormalForm::nfkd}) {
    for (char32_t c = 0; c < 0x110000; ++c) {
      if ((c >= 0xD800 && c < 0xE000) || !is_stable(c, form)) continue;
      ASSERT_EQ(code_points(normalize({c}, form)), std::vector<char32_t>{c});
    }
  }
}

TEST(Unicode, LowersOneToTwo) {
  char32_t lower[2];
  ASSERT_EQ(to_lower(0x130, lower), 2u);
  EXPECT_EQ(lower[0], U'i');
  EXPECT_EQ(lower[1], char32_t{0x307});
  ASSERT_EQ(to_lower(U'Ä', lower), 1u);
  EXPECT_EQ(lower[0], U'ä');
}

TEST(AlignedText, RemembersWhereEveryByteCameFrom) {
  const std::string original = "e\xCC\x81x \xEF\xAC\x83";  // e, acute accent, x, space, ffi
  AlignedText text(original);
  read_normalizer({{"type", "NFKC"}}, "normalizer")->apply(text);
  const Piece piece = text.pieces().at(0);
  ASSERT_EQ(text.text(piece), "\xC3\xA9x ffi");
  EXPECT_EQ(text.alignment(0).begin, 0u);
  EXPECT_EQ(text.alignment(2).begin, 3u);  // x
  for (size_t at = 4; at < 7; ++at) {      // every letter of the ligature is the ligature
    EXPECT_EQ(text.alignment(at).begin, 5u);
    EXPECT_EQ(text.alignment(at).end, 8u);
  }
}

TEST(AlignedText, RefusesToGrowWithoutBound) {
  const std::string original(1 << 16, 'a');
  AlignedText text(original);
  const Json replace = {
      {"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", std::string(4096, 'b')}};
  EXPECT_THROW(read_normalizer(replace, "normalizer")->apply(text), std::exception);
}

}  // namespace
}  // namespace ostinato::text
