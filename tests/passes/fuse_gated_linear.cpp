#include "passes/rewritten.h"

namespace ostinato::passes {
namespace {

std::string fused(const std::string& statements) {
  return rewritten_and_cleaned(fuse_gated_linear,
                               "input %0 \"x\" : float32(s0, 4)\n"
                               "input %6 \"z\" : float32(s0, 4)\n"
                               "constant %1 \"gate\" : float32(8, 4)\n"
                               "constant %2 \"up\" : float32(8, 4)\n"
                               "constant %3 \"b\" : float32(8)\n"
                               "constant %4 \"both\" : float32(16, 4)\n"
                               "constant %5 \"c\" : float32(16)\n" +
                                   statements + "output \"y\" %20\n");
}

constexpr const char* kTwo =
    "%10 : float32(s0, 8) = aten.linear(%0, %1, %3)\n"
    "%11 : float32(s0, 8) = aten.linear(%0, %2, None)\n";

TEST(FuseGatedLinear, OfTwoWeights) {
  const std::string swiglu = fused(kTwo + std::string("%20 : float32(s0, 8) = swiglu(%10, %11)\n"));
  EXPECT_NE(swiglu.find("= gated_linear(%0, %1, %2, %3, None) {activation=\"silu\"}"),
            std::string::npos)
      << swiglu;
  EXPECT_EQ(swiglu.find("aten"), std::string::npos) << swiglu;
  const std::string geglu =
      fused(kTwo + std::string("%20 : float32(s0, 8) = geglu(%11, %10) {approximate=\"tanh\"}\n"));
  EXPECT_NE(geglu.find("= gated_linear(%0, %2, %1, None, %3) {activation=\"gelu_tanh\"}"),
            std::string::npos)
      << geglu;
}

TEST(FuseGatedLinear, OfOneWeightInEitherOrder) {
  const std::string product = "%10 : float32(s0, 16) = aten.linear(%0, %4, %5)\n";
  for (const std::string& halves :
       {std::string("%11 : float32(s0, 8), %12 : float32(s0, 8) = aten.split.Tensor(%10) "
                    "{split_size=8, dim=-1}\n"),
        std::string("%11 : float32(s0, 8), %12 : float32(s0, 8) = aten.split_with_sizes(%10) "
                    "{split_sizes=[8, 8], dim=1}\n"),
        std::string("%11 : float32(s0, 8) = aten.slice.Tensor(%10) {dim=1, end=8}\n"
                    "%12 : float32(s0, 8) = aten.slice.Tensor(%10) {dim=-1, start=8}\n")}) {
    for (const bool gate_first : {true, false}) {
      const std::string text = fused(product + halves + "%20 : float32(s0, 8) = " +
                                     (gate_first ? "swiglu(%11, %12)\n" : "swiglu(%12, %11)\n"));
      const std::string first = "= aten.slice.Tensor(%4) {start=0, end=8}";
      const std::string second = "= aten.slice.Tensor(%4) {start=8, end=16}";
      ASSERT_NE(text.find(first), std::string::npos) << text;
      ASSERT_NE(text.find(second), std::string::npos) << text;
      EXPECT_EQ(text.find(first) < text.find(second), gate_first) << text;
      EXPECT_NE(text.find("= gated_linear(%0, "), std::string::npos) << text;
      EXPECT_EQ(text.find("linear(%0, %4"), std::string::npos) << text;
    }
  }
}

TEST(FuseGatedLinear, BesideWhatNothingReads) {
  const std::string text = fused(kTwo + std::string("%12 : float32(s0, 8) = aten.silu(%10)\n"
                                                    "%13 : float32(s0, 8) = aten.neg(%12)\n"
                                                    "%20 : float32(s0, 8) = swiglu(%10, %11)\n"));
  EXPECT_NE(text.find("= gated_linear("), std::string::npos) << text;
}

TEST(FuseGatedLinear, KeepsTheRest) {
  const std::string unit = "%20 : float32(s0, 8) = swiglu(%10, %11)\n";
  for (const std::string& statements : {
           // a product that others read, of another operand, and one with an activation
           kTwo + unit + "output \"z\" %10\n",
           "%10 : float32(s0, 8) = aten.linear(%0, %1, None)\n"
           "%11 : float32(s0, 8) = aten.linear(%6, %2, None)\n" +
               unit,
           "%10 : float32(s0, 8) = aten.linear(%0, %1, None)\n"
           "%11 : float32(s0, 8) = linear(%0, %2, None, None) {activation=\"relu\"}\n" +
               unit,
           // halves of which one goes elsewhere too, and every other column
           "%9 : float32(s0, 16) = aten.linear(%0, %4, None)\n"
           "%10 : float32(s0, 8) = aten.slice.Tensor(%9) {dim=1, end=8}\n"
           "%11 : float32(s0, 8) = aten.slice.Tensor(%9) {dim=1, start=8}\n" +
               unit + "output \"z\" %9\n",
           "%9 : float32(s0, 16) = aten.linear(%0, %4, None)\n"
           "%10 : float32(s0, 8) = aten.slice.Tensor(%9) {dim=1, step=2}\n"
           "%11 : float32(s0, 8) = aten.slice.Tensor(%9) {dim=1, start=1, step=2}\n" +
               unit,
       }) {
    const std::string text = fused(statements);
    EXPECT_EQ(text.find("gated_linear"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace ostinato::passes
