#include "passes/rewritten.h"

namespace ostinato::passes {
namespace {

std::string fused(const std::string& statements) {
  return rewritten_and_cleaned(fuse_swiglu,
                               "input %0 \"gate\" : float32(s0, 8)\n"
                               "input %1 \"up\" : float32(s0, 8)\n"
                               "input %2 \"row\" : float32(8)\n" +
                                   statements + "output \"y\" %12\n");
}

TEST(FuseSwiglu, InEitherOrderAndByItsFormula) {
  for (const char* statements : {
           "%10 : float32(s0, 8) = aten.silu(%0)\n"
           "%12 : float32(s0, 8) = aten.mul.Tensor(%10, %1)\n",
           "%10 : float32(s0, 8) = aten.silu(%0)\n"
           "%12 : float32(s0, 8) = aten.mul.Tensor(%1, %10)\n",
           "%9 : float32(s0, 8) = aten.sigmoid(%0)\n"
           "%10 : float32(s0, 8) = aten.mul.Tensor(%9, %0)\n"
           "%12 : float32(s0, 8) = aten.mul.Tensor(%1, %10)\n",
       }) {
    const std::string text = fused(statements);
    EXPECT_NE(text.find("= swiglu(%0, %1)"), std::string::npos) << text;
    EXPECT_EQ(text.find("aten"), std::string::npos) << text;
  }
}

TEST(FuseSwiglu, WithGelu) {
  for (const std::string& attributes : {std::string(), std::string(" {approximate=\"tanh\"}")}) {
    for (const char* factors : {"%10, %1", "%1, %10"}) {
      const std::string text = fused("%10 : float32(s0, 8) = aten.gelu(%0)" + attributes +
                                     "\n%12 : float32(s0, 8) = aten.mul.Tensor(" + factors + ")\n");
      EXPECT_NE(text.find("= geglu(%0, %1)" + attributes + "\n"), std::string::npos) << text;
    }
  }
}

TEST(FuseSwiglu, KeepsWhatOthersReadOrBroadcasts) {
  const std::string shared = fused(
      "%10 : float32(s0, 8) = aten.silu(%0)\n"
      "%12 : float32(s0, 8) = aten.mul.Tensor(%10, %1)\noutput \"z\" %10\n");
  EXPECT_EQ(shared.find("swiglu"), std::string::npos) << shared;
  const std::string broadcast = fused(
      "%10 : float32(s0, 8) = aten.silu(%0)\n"
      "%12 : float32(s0, 8) = aten.mul.Tensor(%10, %2)\n");
  EXPECT_EQ(broadcast.find("swiglu"), std::string::npos) << broadcast;
}

}  // namespace
}  // namespace ostinato::passes
