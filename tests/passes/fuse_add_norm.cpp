#include "passes/rewritten.h"

namespace ostinato::passes {
namespace {

std::string fused(const std::string& statements) {
  return rewritten(fuse_add_norm,
                   "input %0 \"a\" : float32(s0, 8)\n"
                   "input %1 \"b\" : float32(s0, 8)\n"
                   "input %2 \"c\" : float32(8)\n"
                   "constant %3 \"w\" : float32(8)\n" +
                       statements);
}

TEST(FuseAddNorm, GivesTheSumToo) {
  const std::string text = fused(
      "%10 : float32(s0, 8) = aten.add.Tensor(%0, %1)\n"
      "%11 : float32(s0, 8) = aten.relu(%10)\n"
      "%12 : float32(s0, 8) = rms_norm(%10, %3) {eps=1e-06}\n"
      "output \"y\" %12\noutput \"z\" %11\n");
  EXPECT_NE(text.find("= add_rms_norm(%0, %1, %3) {eps=1e-06}"), std::string::npos) << text;
  EXPECT_EQ(text.find("aten.add"), std::string::npos) << text;
}

TEST(FuseAddNorm, OfLayerNorm) {
  const std::string text = fused(
      "%10 : float32(s0, 8) = aten.add.Tensor(%0, %1)\n"
      "%12 : float32(s0, 8) = layer_norm(%10, %3, None) {eps=1e-05}\n"
      "output \"y\" %12\noutput \"z\" %10\n");
  EXPECT_NE(text.find("= add_layer_norm(%0, %1, %3, None) {eps=1e-05}"), std::string::npos) << text;
  // A bias that is computed between the two.
  const std::string late = fused(
      "%10 : float32(s0, 8) = aten.add.Tensor(%0, %1)\n"
      "%11 : float32(8) = aten.neg(%2)\n"
      "%12 : float32(s0, 8) = layer_norm(%10, %3, %11) {eps=1e-05}\n"
      "output \"y\" %12\n");
  EXPECT_NE(late.find("aten.add"), std::string::npos) << late;
}

TEST(FuseAddNorm, KeepsSumsThatBroadcastOrScale) {
  for (const char* sum : {"aten.add.Tensor(%0, %2)", "aten.add.Tensor(%0, %1) {alpha=2}"}) {
    const std::string text = fused("%10 : float32(s0, 8) = " + std::string(sum) +
                                   "\n"
                                   "%12 : float32(s0, 8) = rms_norm(%10, %3) {eps=1e-06}\n"
                                   "output \"y\" %12\n");
    EXPECT_NE(text.find("aten.add"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace ostinato::passes
