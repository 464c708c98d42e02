#include "passes/rewritten.h"

namespace ostinato::passes {
namespace {

std::string fused(const std::string& statements) {
  // The RMSNorm of what is centred is found by the pass before.
  const std::string text =
      "input %0 \"x\" : float32(s0, 8)\n"
      "input %1 \"weight\" : float32(8)\n"
      "input %2 \"bias\" : float32(8)\n"
      "input %3 \"wide\" : float32(s0, 8)\n" +
      statements + "output \"y\" %99\n";
  return rewritten_and_cleaned(fuse_layer_norm, rewritten(fuse_rms_norm, text));
}

bool is_fused(const std::string& text, const std::string& call) {
  return text.find("= layer_norm(" + call) != std::string::npos &&
         text.find("aten.") == std::string::npos;
}

const std::string kCentred =
    "%10 : float32(s0, 1) = aten.mean.dim(%0) {dim=[-1], keepdim=true}\n"
    "%11 : float32(s0, 8) = aten.sub.Tensor(%0, %10)\n";

std::string variance(const std::string& call) {
  return kCentred + "%12 : float32(s0, 1) = aten." + call +
         "\n"
         "%13 : float32(s0, 1) = aten.add.Scalar(%12) {other=1e-05}\n";
}

const std::string kRsqrt =
    "%14 : float32(s0, 1) = aten.rsqrt(%13)\n"
    "%99 : float32(s0, 8) = aten.mul.Tensor(%11, %14)\n";

TEST(FuseLayerNorm, VariancesAndRoots) {
  for (const char* square :
       {"aten.pow.Tensor_Scalar(%11) {exponent=2}", "aten.mul.Tensor(%11, %11)"}) {
    std::string statements = kCentred;
    statements += "%20 : float32(s0, 8) = ";
    statements += square;
    statements +=
        "\n"
        "%12 : float32(s0, 1) = aten.mean.dim(%20) {dim=[1], keepdim=true}\n"
        "%13 : float32(s0, 1) = aten.add.Scalar(%12) {other=1e-05}\n";
    const std::string text = fused(statements + kRsqrt);
    EXPECT_TRUE(is_fused(text, "%0, None, None) {eps=1e-05}")) << text;
  }
  for (const char* call : {"var.correction(%0) {dim=[-1], correction=0, keepdim=true}",
                           "var.dim(%0) {dim=[1], unbiased=false, keepdim=true}"}) {
    for (const std::string& root :
         {kRsqrt, std::string("%14 : float32(s0, 1) = aten.sqrt(%13)\n"
                              "%99 : float32(s0, 8) = aten.div.Tensor(%11, %14)\n")}) {
      const std::string text = fused(variance(call) + root);
      EXPECT_TRUE(is_fused(text, "%0, None, None) {eps=1e-05}")) << text;
    }
  }
}

TEST(FuseLayerNorm, VarianceAndMeanOfOneCall) {
  const std::string text = fused(
      "%12 : float32(s0, 1), %10 : float32(s0, 1) = aten.var_mean.correction(%0) {dim=[-1], "
      "correction=0, keepdim=true}\n"
      "%11 : float32(s0, 8) = aten.sub.Tensor(%0, %10)\n"
      "%13 : float32(s0, 1) = aten.add.Scalar(%12) {other=1e-05}\n" +
      kRsqrt);
  EXPECT_TRUE(is_fused(text, "%0, None, None) {eps=1e-05}")) << text;
}

TEST(FuseLayerNorm, WeightAndBias) {
  const std::string norm = variance("var.correction(%0) {dim=[-1], correction=0, keepdim=true}") +
                           "%14 : float32(s0, 1) = aten.rsqrt(%13)\n"
                           "%15 : float32(s0, 8) = aten.mul.Tensor(%11, %14)\n";
  const std::string both = fused(norm +
                                 "%16 : float32(s0, 8) = aten.mul.Tensor(%1, %15)\n"
                                 "%99 : float32(s0, 8) = aten.add.Tensor(%16, %2)\n");
  EXPECT_TRUE(is_fused(both, "%0, %1, %2)")) << both;
  const std::string bias = fused(norm + "%99 : float32(s0, 8) = aten.add.Tensor(%2, %15)\n");
  EXPECT_TRUE(is_fused(bias, "%0, None, %2)")) << bias;
  // A weight after the bias, and a matrix.
  const std::string after = fused(norm +
                                  "%16 : float32(s0, 8) = aten.add.Tensor(%15, %2)\n"
                                  "%99 : float32(s0, 8) = aten.mul.Tensor(%16, %1)\n");
  EXPECT_NE(after.find("= aten.mul.Tensor("), std::string::npos) << after;
  const std::string wide = fused(norm + "%99 : float32(s0, 8) = aten.add.Tensor(%15, %3)\n");
  EXPECT_NE(wide.find("= aten.add.Tensor("), std::string::npos) << wide;
  const std::string shared = fused(norm +
                                   "%99 : float32(s0, 8) = aten.mul.Tensor(%1, %15)\n"
                                   "output \"z\" %15\n");
  EXPECT_NE(shared.find("= aten.mul.Tensor("), std::string::npos) << shared;
}

TEST(FuseLayerNorm, KeepsVectorsThatNoKernelTakes) {
  const std::string text =
      rewritten(fuse_layer_norm,
                "input %0 \"x\" : float32(s0, 8)\n"
                "input %1 \"bias\" : float16(8)\n"
                "%2 : float32(s0, 8) = layer_norm(%0, None, None) {eps=1e-05}\n"
                "%99 : float32(s0, 8) = aten.add.Tensor(%2, %1)\n"
                "output \"y\" %99\n");
  EXPECT_NE(text.find("= aten.add.Tensor("), std::string::npos) << text;
}

TEST(FuseLayerNorm, CastsAroundIt) {
  const std::string text =
      rewritten_and_cleaned(fuse_layer_norm,
                            "input %0 \"x\" : bfloat16(s0, 8)\n"
                            "%1 : float32(s0, 8) = aten._to_copy(%0) {dtype=float32}\n"
                            "%2 : float32(s0, 8) = layer_norm(%1, None, None) {eps=1e-05}\n"
                            "%99 : bfloat16(s0, 8) = aten._to_copy(%2) {dtype=bfloat16}\n"
                            "output \"y\" %99\n");
  EXPECT_TRUE(is_fused(text, "%0, None, None)")) << text;
}

TEST(FuseLayerNorm, KeepsOtherFormulas) {
  for (const std::string& statements : {
           // Corrected variances, of another value, over another dim.
           variance("var.correction(%0) {dim=[-1], correction=1, keepdim=true}"),
           variance("var.correction(%0) {dim=[-1], keepdim=true}"),
           variance("var.dim(%0) {dim=[1], keepdim=true}"),
           variance("var.correction(%3) {dim=[-1], correction=0, keepdim=true}"),
           std::string("%10 : float32(s0, 1) = aten.mean.dim(%3) {dim=[-1], keepdim=true}\n") +
               "%11 : float32(s0, 8) = aten.sub.Tensor(%0, %10)\n"
               "%12 : float32(s0, 1) = aten.var.dim(%0) {dim=[1], unbiased=false, keepdim=true}\n"
               "%13 : float32(s0, 1) = aten.add.Scalar(%12) {other=1e-05}\n",
       }) {
    const std::string text = fused(statements + kRsqrt);
    EXPECT_EQ(text.find("layer_norm"), std::string::npos) << text;
  }
  const std::string square =
      rewritten_and_cleaned(fuse_layer_norm,
                            "input %0 \"x\" : float32(8, 8)\n"
                            "%10 : float32(1, 8) = aten.mean.dim(%0) {dim=[0], keepdim=true}\n"
                            "%11 : float32(8, 8) = aten.sub.Tensor(%0, %10)\n"
                            "%99 : float32(8, 8) = rms_norm(%11, None) {eps=1e-05}\n"
                            "output \"y\" %99\n");
  EXPECT_EQ(square.find("layer_norm"), std::string::npos) << square;
}

TEST(FuseLayerNorm, OfAtensOperator) {
  const std::string head =
      "input %0 \"x\" : float32(s0, 2, 8)\n"
      "constant %1 \"w\" : float32(8)\n";
  const std::string text = rewritten(
      fuse_layer_norm, head +
                           "%2 : float32(s0, 2, 8), %3 : float32(s0, 2, 1), %4 : float32(s0, 2, 1) "
                           "= aten.native_layer_norm(%0, %1, None) {normalized_shape=[8], "
                           "eps=1e-05}\noutput \"y\" %2\n");
  EXPECT_NE(text.find("= layer_norm(%0, %1, None) {eps=1e-05}"), std::string::npos) << text;
  const std::string read = rewritten(
      fuse_layer_norm, head +
                           "%2 : float32(s0, 2, 8), %3 : float32(s0, 2, 1), %4 : float32(s0, 2, 1) "
                           "= aten.native_layer_norm(%0, %1, None) {normalized_shape=[8], "
                           "eps=1e-05}\noutput \"y\" %2\noutput \"mean\" %3\n");
  EXPECT_NE(read.find("aten.native_layer_norm"), std::string::npos) << read;
}

}  // namespace
}  // namespace ostinato::passes
