#include "passes/rewritten.h"

namespace ostinato::passes {
namespace {

std::string fused(const std::string& statements) {
  return rewritten_and_cleaned(fuse_norm_linear,
                               "input %0 \"x\" : float32(s0, 4)\n"
                               "input %1 \"w\" : float32(4)\n"
                               "constant %2 \"a\" : float32(8, 4)\n"
                               "constant %3 \"b\" : float32(8, 4)\n"
                               "constant %4 \"c\" : float32(8)\n"
                               "%10 : float32(s0, 4) = rms_norm(%0, %1) {eps=1e-06}\n" +
                                   statements + "output \"y\" %20\n");
}

TEST(FuseNormLinear, IntoEveryKindOfProduct) {
  const std::pair<const char*, const char*> products[] = {
      {"%20 : float32(s0, 8) = aten.linear(%10, %2, %4)\n",
       "= norm_linears(%0, %1, [%2, %4]) {eps=1e-06}"},
      {"%20 : float32(s0, 8) = linear(%10, %2, %4, None) {activation=\"none\"}\n",
       "= norm_linears(%0, %1, [%2, %4]) {eps=1e-06}"},
      {"%20 : float32(s0, 8), %21 : float32(s0, 8) = linears(%10, [%2, %4, %3, None])\n",
       "= norm_linears(%0, %1, [%2, %4, %3, None]) {eps=1e-06}"},
      {"%20 : float32(s0, 8) = gated_linear(%10, %2, %3, None, %4) {activation=\"silu\"}\n",
       "= norm_gated_linear(%0, %1, %2, %3, None, %4) {activation=\"silu\", eps=1e-06}"}};
  for (const auto& [product, expected] : products) {
    const std::string text = fused(product);
    EXPECT_NE(text.find(expected), std::string::npos) << text;
    EXPECT_EQ(text.find("= rms_norm"), std::string::npos) << text;
  }
}

TEST(FuseNormLinear, NotWhereAnythingElseIsDoneOrReadsTheNorm) {
  for (const char* product :
       {"%20 : float32(s0, 8) = linear(%10, %2, %4, None) {activation=\"silu\"}\n",
        "%11 : float32(s0, 8) = aten.linear(%10, %2, %4)\n"
        "%12 : float32(s0, 8) = aten.linear(%10, %3, %4)\n"
        "%20 : float32(s0, 8) = aten.add.Tensor(%11, %12)\n"}) {
    const std::string text = fused(product);
    EXPECT_NE(text.find("= rms_norm"), std::string::npos) << text;
    EXPECT_EQ(text.find("norm_linears"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace ostinato::passes
