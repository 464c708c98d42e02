#include "passes/rewritten.h"

namespace ostinato::passes {
namespace {

std::string fused(const std::string& statements) {
  return rewritten_and_cleaned(fuse_rotary,
                               "input %0 \"x\" : float32(1, 2, s0, 8)\n"
                               "input %1 \"cos\" : float32(1, 1, s0, 8)\n"
                               "input %2 \"sin\" : float32(1, 1, s0, 8)\n"
                               "input %3 \"cos4\" : float32(s0, 4)\n"
                               "input %4 \"sin4\" : float32(s0, 4)\n" +
                                   statements + "output \"y\" %20\n");
}

std::string turned(const std::string& first, const std::string& second) {
  return "%10 : float32(1, 2, s0, 4) = aten.slice.Tensor(%0) {dim=3, start=0, end=4}\n"
         "%11 : float32(1, 2, s0, 4) = aten.slice.Tensor(%0) {dim=-1, start=4, "
         "end=9223372036854775807}\n"
         "%12 : float32(1, 2, s0, 4) = aten.neg(" +
         first +
         ")\n"
         "%13 : float32(1, 2, s0, 8) = aten.cat([%12, " +
         second + "]) {dim=-1}\n";
}

TEST(FuseRotary, ByHalves) {
  for (const char* sum : {"%14, %15", "%15, %14"}) {
    const std::string text = fused(turned("%11", "%10") +
                                   "%14 : float32(1, 2, s0, 8) = aten.mul.Tensor(%0, %1)\n"
                                   "%15 : float32(1, 2, s0, 8) = aten.mul.Tensor(%13, %2)\n"
                                   "%20 : float32(1, 2, s0, 8) = aten.add.Tensor(" +
                                   sum + ")\n");
    EXPECT_NE(text.find("= rotary(%0, %1, %2)"), std::string::npos) << text;
    EXPECT_EQ(text.find("aten"), std::string::npos) << text;
  }
}

TEST(FuseRotary, FirstElementsOnly) {
  const std::string text = fused(
      "%5 : float32(1, 2, s0, 4) = aten.slice.Tensor(%0) {dim=3, start=0, end=4}\n"
      "%6 : float32(1, 2, s0, 4) = aten.slice.Tensor(%0) {dim=3, start=4, end=8}\n"
      "%10 : float32(1, 2, s0, 2) = aten.slice.Tensor(%5) {dim=3, start=0, end=2}\n"
      "%11 : float32(1, 2, s0, 2) = aten.slice.Tensor(%5) {dim=3, start=2, end=4}\n"
      "%12 : float32(1, 2, s0, 2) = aten.neg(%11)\n"
      "%13 : float32(1, 2, s0, 4) = aten.cat([%12, %10]) {dim=-1}\n"
      "%14 : float32(1, 2, s0, 4) = aten.mul.Tensor(%5, %3)\n"
      "%15 : float32(1, 2, s0, 4) = aten.mul.Tensor(%13, %4)\n"
      "%16 : float32(1, 2, s0, 4) = aten.add.Tensor(%14, %15)\n"
      "%20 : float32(1, 2, s0, 8) = aten.cat([%16, %6]) {dim=-1}\n");
  EXPECT_NE(text.find("= rotary(%0, %3, %4)"), std::string::npos) << text;
  EXPECT_EQ(text.find("aten"), std::string::npos) << text;
}

TEST(FuseRotary, KeepsOtherTurns) {
  // The first half negated, or the halves in their places.
  for (const auto& [first, second] : {std::pair{"%10", "%11"}, std::pair{"%10", "%10"}}) {
    const std::string text = fused(turned(first, second) +
                                   "%14 : float32(1, 2, s0, 8) = aten.mul.Tensor(%0, %1)\n"
                                   "%15 : float32(1, 2, s0, 8) = aten.mul.Tensor(%13, %2)\n"
                                   "%20 : float32(1, 2, s0, 8) = aten.add.Tensor(%14, %15)\n");
    EXPECT_EQ(text.find("rotary"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace ostinato::passes
