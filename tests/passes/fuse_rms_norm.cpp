#include <fmt/format.h>

#include "passes/rewritten.h"

namespace ostinato::passes {
namespace {

/// The calls left of an RMSNorm of `%0 : bfloat16(2, s0, 8)` in a model's words; the result is %30.
std::string fused(const std::string& statements, const std::string& output = "%30") {
  const std::string text = rewritten_and_cleaned(fuse_rms_norm,
                                                 "input %0 \"x\" : bfloat16(2, s0, 8)\n"
                                                 "constant %1 \"w\" : bfloat16(8)\n"
                                                 "constant %2 \"v\" : float32(8)\n" +
                                                     statements + "output \"y\" " + output + "\n");
  return text.substr(text.find("\n%") + 1);
}

const std::string kNorm =
    "%10 : float32(2, s0, 8) = aten._to_copy(%0) {dtype=float32}\n"
    "%11 : float32(2, s0, 8) = aten.pow.Tensor_Scalar(%10) {exponent=2}\n"
    "%12 : float32(2, s0, 1) = aten.mean.dim(%11) {dim=[-1], keepdim=true}\n"
    "%13 : float32(2, s0, 1) = aten.add.Scalar(%12) {other=1e-06}\n";
const std::string kScaled =
    "%14 : float32(2, s0, 1) = aten.rsqrt(%13)\n"
    "%15 : float32(2, s0, 8) = aten.mul.Tensor(%10, %14)\n";
const std::string kRounded = "%16 : bfloat16(2, s0, 8) = aten._to_copy(%15) {dtype=bfloat16}\n";

TEST(FuseRmsNorm, AsQwenAndLlamaWriteIt) {
  const std::string text =
      fused(kNorm + kScaled + kRounded + "%30 : bfloat16(2, s0, 8) = aten.mul.Tensor(%1, %16)\n");
  EXPECT_EQ(text.find("aten"), std::string::npos) << text;
  EXPECT_NE(text.find("= rms_norm(%0, %1) {eps=1e-06}"), std::string::npos) << text;
}

TEST(FuseRmsNorm, InOtherWords) {
  for (const char* scale : {
           "%13 : float32(2, s0, 1) = aten.add.Scalar(%12) {other=1e-06}\n"
           "%20 : float32(2, s0, 1) = aten.sqrt(%13)\n"
           "%15 : float32(2, s0, 8) = aten.div.Tensor(%10, %20)\n",
           "%13 : float32(2, s0, 1) = aten.add.Scalar(%12) {other=1e-06}\n"
           "%20 : float32(2, s0, 1) = aten.sqrt(%13)\n"
           "%21 : float32(2, s0, 1) = aten.reciprocal(%20)\n"
           "%15 : float32(2, s0, 8) = aten.mul.Tensor(%21, %10)\n",
           "%13 : float32(2, s0, 1) = aten.add.Scalar(%12) {other=1e-06}\n"
           "%20 : float32(2, s0, 1) = aten.pow.Tensor_Scalar(%13) {exponent=-0.5}\n"
           "%15 : float32(2, s0, 8) = aten.mul.Tensor(%20, %10)\n",
       }) {
    const std::string text = fused(
        "%10 : float32(2, s0, 8) = aten._to_copy(%0) {dtype=float32}\n"
        "%11 : float32(2, s0, 8) = aten.mul.Tensor(%10, %10)\n"
        "%12 : float32(2, s0, 1) = aten.mean.dim(%11) {dim=[2], keepdim=true}\n" +
            std::string(scale) + kRounded,
        "%16");
    EXPECT_NE(text.find("= rms_norm(%0, None) {eps=1e-06}"), std::string::npos) << text;
  }
}

TEST(FuseRmsNorm, WeightAppliedBeforeRoundingStaysSo) {
  // Gemma: the product with the weight is in float32 too.
  const std::string text =
      fused(kNorm + kScaled +
            "%17 : float32(2, s0, 8) = aten.mul.Tensor(%15, %2)\n"
            "%30 : bfloat16(2, s0, 8) = aten._to_copy(%17) {dtype=bfloat16}\n");
  EXPECT_NE(text.find("float32(2, s0, 8) = rms_norm(%10, %2)"), std::string::npos) << text;
}

TEST(FuseRmsNorm, KeepsWhatIsNone) {
  const auto stays_with = [](const std::string& from, const std::string& to) {
    std::string text = kNorm + kScaled;
    text.replace(text.find(from), from.size(), to);
    EXPECT_EQ(fused(text, "%15").find("rms_norm"), std::string::npos) << text;
  };
  stays_with("exponent=2", "exponent=3");
  stays_with("aten.mul.Tensor(%10, %14)", "aten.mul.Tensor(%11, %14)");
  stays_with("{other=1e-06}", "{other=1e-06, alpha=2}");
  stays_with("aten.rsqrt(%13)", "aten.sqrt(%13)");
  const std::string other_dim = fused(
      "%10 : float32(2, s0, 8) = aten._to_copy(%0) {dtype=float32}\n"
      "%11 : float32(2, s0, 8) = aten.pow.Tensor_Scalar(%10) {exponent=2}\n"
      "%12 : float32(2, 1, 8) = aten.mean.dim(%11) {dim=[1], keepdim=true}\n"
      "%13 : float32(2, 1, 8) = aten.add.Scalar(%12) {other=1e-06}\n"
      "%14 : float32(2, 1, 8) = aten.rsqrt(%13)\n"
      "%15 : float32(2, s0, 8) = aten.mul.Tensor(%10, %14)\n",
      "%15");
  EXPECT_EQ(other_dim.find("rms_norm"), std::string::npos) << other_dim;
}

}  // namespace
}  // namespace ostinato::passes
