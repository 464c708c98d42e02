#include "passes/rewritten.h"

namespace ostinato::passes {
namespace {

std::string fused(const std::string& statements) {
  return rewritten_and_cleaned(fuse_linear,
                               "input %0 \"x\" : float32(s0, 4)\n"
                               "input %1 \"r\" : float32(s0, 8)\n"
                               "input %4 \"row\" : float32(8)\n"
                               "constant %2 \"w\" : float32(8, 4)\n"
                               "constant %3 \"b\" : float32(8)\n"
                               "%10 : float32(s0, 8) = aten.linear(%0, %2, %3)\n" +
                                   statements + "output \"y\" %20\n");
}

TEST(FuseLinear, TakesActivations) {
  for (const auto& [call, name] :
       {std::pair{"aten.relu(%10)", "relu"}, std::pair{"aten.silu(%10)", "silu"},
        std::pair{"aten.gelu(%10)", "gelu"},
        std::pair{"aten.gelu(%10) {approximate=\"tanh\"}", "gelu_tanh"}}) {
    const std::string text = fused("%20 : float32(s0, 8) = " + std::string(call) + "\n");
    const std::string expected =
        "= linear(%0, %2, %3, None) {activation=\"" + std::string(name) + "\"}";
    EXPECT_NE(text.find(expected), std::string::npos) << text;
    EXPECT_EQ(text.find("aten"), std::string::npos) << text;
  }
}

// x · σ(x) and x · σ(1.702 · x), with the product that both factors read.
TEST(FuseLinear, TakesActivationsByTheirFormula) {
  const std::string scaled = "%11 : float32(s0, 8) = aten.mul.Scalar(%10) {other=1.702}\n";
  const std::string quick = scaled + "%12 : float32(s0, 8) = aten.sigmoid(%11)\n";
  const std::string silu = "%12 : float32(s0, 8) = aten.sigmoid(%10)\n";
  for (const auto& [statements, name] : {std::pair{quick, "quick_gelu"}, {silu, "silu"}}) {
    for (const std::string operands : {"%10, %12", "%12, %10"}) {
      const std::string text =
          fused(statements + "%20 : float32(s0, 8) = aten.mul.Tensor(" + operands + ")\n");
      const std::string expected =
          "= linear(%0, %2, %3, None) {activation=\"" + std::string(name) + "\"}";
      EXPECT_NE(text.find(expected), std::string::npos) << text;
      EXPECT_EQ(text.find("aten"), std::string::npos) << text;
    }
  }
  const std::string product = "%20 : float32(s0, 8) = aten.mul.Tensor(%10, %12)\n";
  for (const std::string& kept :
       {// another factor, something else scaled, and each value that something else reads
        "%11 : float32(s0, 8) = aten.mul.Scalar(%10) {other=1.7}\n"
        "%12 : float32(s0, 8) = aten.sigmoid(%11)\n" +
            product,
        "%11 : float32(s0, 8) = aten.mul.Scalar(%1) {other=1.702}\n"
        "%12 : float32(s0, 8) = aten.sigmoid(%11)\n" +
            product,
        quick + product + "output \"z\" %10\n", quick + product + "output \"z\" %11\n",
        quick + product + "output \"z\" %12\n",
        quick + product + "%13 : float32(s0, 8) = aten.neg(%10)\noutput \"z\" %13\n"}) {
    const std::string text = fused(kept);
    EXPECT_NE(text.find("aten.linear"), std::string::npos) << text;
  }
}

TEST(FuseLinear, TakesOneSumAfterAnActivation) {
  const std::string text = fused(
      "%11 : float32(s0, 8) = aten.relu(%10)\n"
      "%20 : float32(s0, 8) = aten.add.Tensor(%1, %11)\n");
  EXPECT_NE(text.find("= linear(%0, %2, %3, %1) {activation=\"relu\"}"), std::string::npos) << text;
}

TEST(FuseLinear, KeepsTheRest) {
  // An activation of the sum, a sum that broadcasts, and a product that others read.
  const std::string after = fused(
      "%11 : float32(s0, 8) = aten.add.Tensor(%10, %1)\n"
      "%20 : float32(s0, 8) = aten.relu(%11)\n");
  EXPECT_NE(after.find("aten.relu"), std::string::npos) << after;
  const std::string broadcast = fused("%20 : float32(s0, 8) = aten.add.Tensor(%10, %4)\n");
  EXPECT_NE(broadcast.find("aten.add"), std::string::npos) << broadcast;
  const std::string shared = fused("%20 : float32(s0, 8) = aten.relu(%10)\noutput \"z\" %10\n");
  EXPECT_NE(shared.find("aten.relu"), std::string::npos) << shared;
}

}  // namespace
}  // namespace ostinato::passes
