#include "passes/rewritten.h"

namespace ostinato::passes {
namespace {

/// The attention that is left of one under the mask `%90`.
std::string fused(const std::string& mask, const std::string& type = "bool(1, 1, s0, s0)") {
  const std::string text = rewritten_and_cleaned(
      fuse_attention,
      "input %0 \"q\" : float32(1, 4, s0, 8)\n"
      "input %1 \"k\" : float32(1, 4, s0, 8)\n"
      "input %2 \"v\" : float32(1, 4, s0, 8)\n"
      "input %3 \"given\" : bool(1, 1, s0, s0)\n"
      "input %4 \"padding\" : int64(1, s0)\n"
      "constant %5 : int64(1) = [0]\n"
      "%10 : int64(s0) = aten.arange() {end=s0}\n"
      "%11 : int64(1, 1, s0, 1) = aten.view(%10) {size=[1, 1, s0, 1]}\n"
      "%12 : int64(1, 1, 1, s0) = aten.view(%10) {size=[1, 1, 1, s0]}\n" +
          mask +
          "%99 : float32(1, 4, s0, 8) = aten.scaled_dot_product_attention(%0, %1, %2, %90)\n"
          "output \"y\" %99\n");
  EXPECT_NE(text.find(" = attention(%0, %1, %2, "), std::string::npos) << text << type;
  return text.substr(text.find("attention("));
}

bool keeps_mask(const std::string& call) {
  return call.find("attention(%0, %1, %2, None, None, None)") == std::string::npos;
}

TEST(FuseAttention, CausalMasks) {
  for (const char* mask : {
           "%90 : bool(1, 1, s0, s0) = aten.le.Tensor(%12, %11)\n",
           "%90 : bool(1, 1, s0, s0) = aten.ge.Tensor(%11, %12)\n",
           "%20 : int64(1, 1, s0, 1) = aten.add.Scalar(%11) {other=1}\n"
           "%90 : bool(1, 1, s0, s0) = aten.lt.Tensor(%12, %20)\n",
           "%20 : bool(1, 1, s0, s0) = aten.gt.Tensor(%12, %11)\n"
           "%90 : bool(1, 1, s0, s0) = aten.logical_not(%20)\n",
           "%20 : bool(s0, s0) = aten.full() {size=[s0, s0], fill_value=true, dtype=bool}\n"
           "%90 : bool(s0, s0) = aten.tril(%20)\n",
       }) {
    const std::string call = fused(mask);
    EXPECT_FALSE(keeps_mask(call)) << mask << call;
    EXPECT_NE(call.find("causal=true"), std::string::npos) << call;
    EXPECT_EQ(call.find("window"), std::string::npos) << call;
  }
}

TEST(FuseAttention, CausalMaskOfPackedSequencesThatAreOne) {
  // As transformers computes it where no positions are given: differences that are all one.
  const std::string call = fused(
      "%20 : int64(1, s0) = aten.unsqueeze(%10) {dim=0}\n"
      "%21 : int64(1, 1) = aten.slice.Tensor(%20) {dim=1, start=0, end=1}\n"
      "%22 : int64(1, 1) = aten.sub.Scalar(%21) {other=1}\n"
      "%23 : int64(1, s0+1) = aten.cat([%22, %20]) {dim=-1}\n"
      "%24 : int64(1, s0) = aten.slice.Tensor(%23) {dim=-1, start=0, end=s0}\n"
      "%25 : int64(1, s0) = aten.slice.Tensor(%23) {dim=-1, start=1, end=s0+1}\n"
      "%26 : int64(1, s0) = aten.sub.Tensor(%25, %24)\n"
      "%27 : bool(1, s0) = aten.ne.Scalar(%26) {other=1}\n"
      "%28 : int64(1, s0) = aten.cumsum(%27) {dim=-1}\n"
      "%29 : int64(1, 1, 1, 1) = aten.view(%5) {size=[1, 1, 1, 1]}\n"
      "%30 : int64(1, 1, s0, 1) = aten.index.Tensor(%28, [%29, %11])\n"
      "%31 : int64(1, 1, 1, s0) = aten.index.Tensor(%28, [%29, %12])\n"
      "%32 : bool(1, 1, s0, s0) = aten.eq.Tensor(%30, %31)\n"
      "%33 : int64(1, 1, s0, 1) = aten.index.Tensor(%20, [%29, %11])\n"
      "%34 : int64(1, 1, 1, s0) = aten.index.Tensor(%20, [%29, %12])\n"
      "%35 : bool(1, 1, s0, s0) = aten.le.Tensor(%34, %33)\n"
      "%90 : bool(1, 1, s0, s0) = aten.bitwise_and.Tensor(%32, %35)\n");
  EXPECT_FALSE(keeps_mask(call)) << call;
  EXPECT_NE(call.find("causal=true"), std::string::npos) << call;
}

TEST(FuseAttention, Windows) {
  const std::string call = fused(
      "%20 : bool(1, 1, s0, s0) = aten.le.Tensor(%12, %11)\n"
      "%21 : int64(1, 1, s0, 1) = aten.sub.Scalar(%11) {other=4}\n"
      "%22 : bool(1, 1, s0, s0) = aten.gt.Tensor(%12, %21)\n"
      "%90 : bool(1, 1, s0, s0) = aten.bitwise_and.Tensor(%20, %22)\n");
  EXPECT_FALSE(keeps_mask(call)) << call;
  EXPECT_NE(call.find("window=4"), std::string::npos) << call;
}

TEST(FuseAttention, AdditiveMasks) {
  const std::string choice =
      "%20 : bool(1, 1, s0, s0) = aten.le.Tensor(%12, %11)\n"
      "%21 : float32() = aten.scalar_tensor() {s=0.0, dtype=float32}\n";
  const auto with = [&choice](const std::string& forbidden) {
    return fused(choice + "%22 : float32() = aten.full() {size=[], fill_value=" + forbidden +
                 ", dtype=float32}\n"
                 "%90 : float32(1, 1, s0, s0) = aten.where.self(%20, %21, %22)\n");
  };
  EXPECT_FALSE(keeps_mask(with("-3.4028234663852886e+38")));
  EXPECT_FALSE(keeps_mask(with("-inf")));
  EXPECT_TRUE(keeps_mask(with("-1.0")));
}

TEST(FuseAttention, MaskThatForbidsNothing) {
  const std::string call = fused(
      "%90 : bool(1, 1, s0, s0) = aten.full() {size=[1, 1, s0, s0], fill_value=true, "
      "dtype=bool}\n");
  EXPECT_FALSE(keeps_mask(call)) << call;
  EXPECT_EQ(call.find("causal"), std::string::npos) << call;
}

TEST(FuseAttention, KeepsMasksOfData) {
  EXPECT_TRUE(keeps_mask(fused("%90 : bool(1, 1, s0, s0) = aten.alias(%3)\n")));
  EXPECT_TRUE(
      keeps_mask(fused("%20 : bool(1, s0) = aten.ne.Scalar(%4) {other=0}\n"
                       "%21 : bool(1, 1, 1, s0) = aten.view(%20) {size=[1, 1, 1, s0]}\n"
                       "%22 : bool(1, 1, s0, s0) = aten.le.Tensor(%12, %11)\n"
                       "%90 : bool(1, 1, s0, s0) = aten.bitwise_and.Tensor(%22, %21)\n")));
  // Rows that may attend nothing, and a band that is open at its end.
  EXPECT_TRUE(keeps_mask(fused("%90 : bool(1, 1, s0, s0) = aten.lt.Tensor(%12, %11)\n")));
  EXPECT_TRUE(keeps_mask(fused("%90 : bool(1, 1, s0, s0) = aten.ge.Tensor(%12, %11)\n")));
}

TEST(FuseAttention, RepeatedHeadsAreReadOnce) {
  const std::string text = rewritten_and_cleaned(
      fuse_attention,
      "input %0 \"q\" : float32(1, 4, s0, 8)\n"
      "input %1 \"k\" : float32(1, 2, s0, 8)\n"
      "input %2 \"v\" : float32(1, 2, s0, 8)\n"
      "%10 : float32(1, 2, 1, s0, 8) = aten.unsqueeze(%1) {dim=2}\n"
      "%11 : float32(1, 2, 2, s0, 8) = aten.expand(%10) {size=[1, 2, 2, s0, 8]}\n"
      "%12 : float32(1, 4, s0, 8) = aten._unsafe_view(%11) {size=[1, 4, s0, 8]}\n"
      "%13 : float32(1, 2, 1, s0, 8) = aten.unsqueeze(%2) {dim=2}\n"
      "%14 : float32(1, 2, 2, s0, 8) = aten.expand(%13) {size=[1, 2, 2, s0, 8]}\n"
      "%15 : float32(1, 2, 2, s0, 8) = aten.clone(%14)\n"
      "%16 : float32(1, 4, s0, 8) = aten.view(%15) {size=[1, 4, s0, 8]}\n"
      "%99 : float32(1, 4, s0, 8) = aten.scaled_dot_product_attention(%0, %12, %16, None) "
      "{is_causal=true}\n"
      "output \"y\" %99\n");
  EXPECT_NE(text.find("attention(%0, %1, %2, None, None, None) {causal=true}"), std::string::npos)
      << text;
  EXPECT_EQ(text.find("aten"), std::string::npos) << text;
}

}  // namespace
}  // namespace ostinato::passes
