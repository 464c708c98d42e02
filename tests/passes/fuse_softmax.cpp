#include "passes/rewritten.h"

namespace ostinato::passes {
namespace {

std::string fused(const std::string& statements) {
  return rewritten_and_cleaned(fuse_softmax,
                               "input %0 \"q\" : float32(2, 4, s0, 8)\n"
                               "input %1 \"k\" : float32(2, 4, s1, 8)\n"
                               "input %2 \"v\" : float32(2, 4, s1, 6)\n"
                               "input %3 \"bias\" : float32(2, 1, s0, s1)\n"
                               "input %4 \"allowed\" : bool(s0, s1)\n"
                               "input %5 \"key\" : float32(2, 1, s1, 8)\n"
                               "input %6 \"value\" : float32(2, 1, s1, 6)\n"
                               "input %7 \"sinks\" : float32(4)\n" +
                                   statements + "output \"y\" %99\n");
}

/// The statements of an attention whose scores `%20` become `%40` by these.
std::string attention(const std::string& scores, const std::string& softmax = "dim=-1") {
  return "%10 : float32(2, 4, 8, s1) = aten.transpose.int(%1) {dim0=2, dim1=3}\n"
         "%20 : float32(2, 4, s0, s1) = aten.matmul(%0, %10)\n" +
         scores + "%50 : float32(2, 4, s0, s1) = aten._softmax(%40) {" + softmax +
         "}\n"
         "%99 : float32(2, 4, s0, 6) = aten.matmul(%50, %2)\n";
}

constexpr const char* kScaled = "%40 : float32(2, 4, s0, s1) = aten.mul.Scalar(%20) {other=0.5}\n";

bool is_fused(const std::string& text) {
  const bool whole = text.find("aten.scaled_dot_product_attention(%0, ") != std::string::npos;
  EXPECT_EQ(whole, text.find("softmax") == std::string::npos) << text;
  EXPECT_EQ(whole, text.find("aten.matmul") == std::string::npos) << text;
  return whole;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(FuseSoftmax, ScalesOfScores) {
  for (const char* scores : {
           kScaled,
           "%40 : float32(2, 4, s0, s1) = aten.div.Scalar(%20) {other=2.0}\n",
           "%30 : float32(2, 4, s0, s1) = aten.mul.Scalar(%20) {other=2.0}\n"
           "%40 : float32(2, 4, s0, s1) = aten.div.Scalar(%30) {other=4.0}\n",
       }) {
    const std::string text = fused(attention(scores));
    EXPECT_TRUE(is_fused(text)) << text;
    EXPECT_TRUE(has(text, ", None) {scale=0.5}")) << text;
  }
}

TEST(FuseSoftmax, CapsOfScores) {
  const std::string cap =
      "%30 : float32(2, 4, s0, s1) = aten.mul.Scalar(%20) {other=0.5}\n"
      "%31 : float32(2, 4, s0, s1) = aten.div.Scalar(%30) {other=50.0}\n"
      "%32 : float32(2, 4, s0, s1) = aten.tanh(%31)\n"
      "%33 : float32(2, 4, s0, s1) = aten.mul.Scalar(%32) {other=50.0}\n";
  const std::string text =
      fused(attention(cap + "%40 : float32(2, 4, s0, s1) = aten.add.Tensor(%33, %3)\n"));
  EXPECT_TRUE(has(text, "= attention(%0, ")) << text;
  EXPECT_TRUE(has(text, ", %3, None, None) {scale=0.5, softcap=50.0}")) << text;
  // A mask below the cap is not one of attention's.
  const std::string below =
      fused(attention("%30 : float32(2, 4, s0, s1) = aten.add.Tensor(%20, %3)\n"
                      "%40 : float32(2, 4, s0, s1) = aten.tanh(%30)\n"));
  EXPECT_TRUE(has(below, "aten._softmax")) << below;
}

TEST(FuseSoftmax, TwoMasks) {
  const std::string text =
      fused("%21 : float32(s0, s1) = aten.full() {size=[s0, s1], fill_value=0.5, dtype=float32}\n" +
            attention("%30 : float32(2, 4, s0, s1) = aten.add.Tensor(%20, %3)\n"
                      "%40 : float32(2, 4, s0, s1) = aten.add.Tensor(%30, %21)\n"));
  EXPECT_TRUE(is_fused(text)) << text;
  EXPECT_TRUE(has(text, "= aten.add.Tensor(%21, %3)")) << text;
}

TEST(FuseSoftmax, MaskOfABatchedProduct) {
  const std::string flat =
      "%8 : float32(8, s0, 8) = aten.view(%0) {size=[8, s0, 8]}\n"
      "%9 : float32(2, 4, 8, s1) = aten.transpose.int(%1) {dim0=2, dim1=3}\n"
      "%10 : float32(8, 8, s1) = aten.reshape(%9) {shape=[8, 8, s1]}\n"
      "%11 : float32(8, 1, s1) = aten.full() {size=[8, 1, s1], fill_value=0.5, dtype=float32}\n"
      "%20 : float32(8, s0, s1) = aten.baddbmm(%11, %8, %10) {beta=";
  const std::string rest =
      ", alpha=0.25}\n"
      "%21 : float32(2, 4, s0, s1) = aten.view(%20) {size=[2, 4, s0, s1]}\n"
      "%22 : float32(2, 4, s0, s1) = aten.add.Tensor(%21, %3)\n"
      "%50 : float32(2, 4, s0, s1) = aten._softmax(%22) {dim=-1}\n"
      "%51 : float32(8, s0, s1) = aten.view(%50) {size=[8, s0, s1]}\n"
      "%52 : float32(8, s1, 6) = aten.view(%2) {size=[8, s1, 6]}\n"
      "%99 : float32(8, s0, 6) = aten.bmm(%51, %52)\n";
  const std::string text = fused(flat + "1.0" + rest);
  EXPECT_TRUE(is_fused(text)) << text;
  EXPECT_TRUE(has(text, " = aten.view(%11) {size=[2, 4, 1, s1]}")) << text;
  EXPECT_TRUE(has(text, " {scale=0.25}")) << text;
  const std::string twice = fused(flat + "2.0" + rest);
  EXPECT_TRUE(has(twice, "aten._softmax")) << twice;
}

TEST(FuseSoftmax, AsPyTorchTakesItApart) {
  const auto safe = [](const std::string& other) {
    return "%10 : float32(2, 4, 8, s1) = aten.transpose.int(%1) {dim0=2, dim1=3}\n"
           "%20 : float32(2, 4, s0, s1) = aten.matmul(%0, %10)\n"
           "%40 : float32(2, 4, s0, s1) = aten.add.Tensor(%20, %3)\n"
           "%50 : float32(2, 4, s0, s1) = aten._softmax(%40) {dim=-1}\n"
           "%51 : bool(2, 4, s0, s1) = aten.eq.Scalar(%40) {other=" +
           other +
           "}\n"
           "%52 : bool(2, 4, s0, 1) = aten.all.dim(%51) {dim=-1, keepdim=true}\n"
           "%53 : float32(2, 4, s0, s1) = aten.zeros_like(%50)\n"
           "%54 : float32(2, 4, s0, s1) = aten.where.self(%52, %53, %50)\n"
           "%99 : float32(2, 4, s0, 6) = aten.matmul(%54, %2)\n";
  };
  EXPECT_TRUE(is_fused(fused(safe("-inf"))));
  EXPECT_FALSE(is_fused(fused(safe("0.0"))));
}

/// Scores beside sinks `%7`, and their softmax without the last column.
std::string with_sinks(const std::string& start) {
  return "%10 : float32(2, 4, 8, s1) = aten.transpose.int(%1) {dim0=2, dim1=3}\n"
         "%20 : float32(2, 4, s0, s1) = aten.matmul(%0, %10)\n"
         "%30 : float32(1, 4, 1, 1) = aten.view(%7) {size=[1, 4, 1, 1]}\n"
         "%31 : float32(2, 4, s0, 1) = aten.expand(%30) {size=[2, 4, s0, 1]}\n"
         "%40 : float32(2, 4, s0, s1+1) = aten.cat([%20, %31]) {dim=-1}\n"
         "%41 : float32(2, 4, s0, 1), %42 : int64(2, 4, s0, 1) = aten.max.dim(%40) {dim=-1, "
         "keepdim=true}\n"
         "%43 : float32(2, 4, s0, s1+1) = aten.sub.Tensor(%40, %41)\n"
         "%50 : float32(2, 4, s0, s1+1) = aten._softmax(%43) {dim=-1}\n"
         "%51 : float32(2, 4, s0, s1) = aten.slice.Tensor(%50) {dim=3, start=" +
         start +
         "}\n"
         "%99 : float32(2, 4, s0, 6) = aten.matmul(%51, %2)\n";
}

TEST(FuseSoftmax, Sinks) {
  const std::string text = fused(with_sinks("0, end=s1"));
  EXPECT_TRUE(has(text, ", None, None, %7) {scale=1.0}")) << text;
  EXPECT_FALSE(has(text, "softmax")) << text;
  const std::string first = fused(with_sinks("1"));
  EXPECT_TRUE(has(first, "aten._softmax")) << first;
}

TEST(FuseSoftmax, ScalesOfOperands) {
  // Also below the views that turn the keys.
  const std::string text = fused(
      "%8 : float32(2, 4, s0, 8) = aten.div.Scalar(%0) {other=2.0}\n"
      "%9 : float32(2, 4, s1, 8) = aten.mul.Scalar(%1) {other=0.25}\n"
      "%10 : float32(2, 4, 8, s1) = aten.transpose.int(%9) {dim0=2, dim1=3}\n"
      "%20 : float32(2, 4, s0, s1) = aten.matmul(%8, %10)\n"
      "%50 : float32(2, 4, s0, s1) = aten._softmax(%20) {dim=3}\n"
      "%99 : float32(2, 4, s0, 6) = aten.matmul(%50, %2)\n");
  EXPECT_TRUE(is_fused(text)) << text;
  EXPECT_TRUE(has(text, "{scale=0.125}")) << text;
  EXPECT_FALSE(has(text, "aten.mul") || has(text, "aten.div")) << text;
}

TEST(FuseSoftmax, AdditiveMasks) {
  for (const char* sum : {"%30, %3", "%3, %30"}) {
    const std::string text =
        fused(attention("%30 : float32(2, 4, s0, s1) = aten.mul.Scalar(%20) {other=0.5}\n"
                        "%40 : float32(2, 4, s0, s1) = aten.add.Tensor(" +
                        std::string(sum) + ")\n"));
    EXPECT_TRUE(is_fused(text)) << text;
    EXPECT_TRUE(has(text, "%2, %3) {scale=0.5}")) << text;
  }
}

TEST(FuseSoftmax, MasksThatFill) {
  // Of -inf a mask of truth values is left; a number leaves equal weights where all is forbidden.
  const std::string where =
      fused(attention("%30 : float32() = aten.scalar_tensor() {s=-inf, dtype=float32}\n"
                      "%40 : float32(2, 4, s0, s1) = aten.where.self(%4, %20, %30)\n"));
  EXPECT_TRUE(is_fused(where)) << where;
  EXPECT_TRUE(has(where, "%2, %4) {scale=1.0}")) << where;
  for (const char* scores : {
           "%40 : float32(2, 4, s0, s1) = aten.masked_fill.Scalar(%20, %4) {value=-inf}\n",
           "%30 : float32() = aten.scalar_tensor() {s=-inf, dtype=float32}\n"
           "%40 : float32(2, 4, s0, s1) = aten.where.self(%4, %30, %20)\n",
       }) {
    const std::string text = fused(attention(scores));
    EXPECT_TRUE(is_fused(text)) << text;
    EXPECT_TRUE(has(text, "aten.logical_not(%4)")) << text;
    EXPECT_FALSE(has(text, "aten.where")) << text;
  }
  const std::string finite = fused(
      attention("%40 : float32(2, 4, s0, s1) = aten.masked_fill.Scalar(%20, %4) {value=-1e9}\n"));
  EXPECT_TRUE(is_fused(finite)) << finite;
  EXPECT_TRUE(has(finite, "float32(s0, s1) = aten.where.self(")) << finite;
  // Too small to leave nothing of a score.
  EXPECT_FALSE(is_fused(fused(attention(
      "%40 : float32(2, 4, s0, s1) = aten.masked_fill.Scalar(%20, %4) {value=-10000.0}\n"))));
}

TEST(FuseSoftmax, CastsAroundTheSoftmax) {
  const std::string text =
      rewritten_and_cleaned(fuse_softmax,
                            "input %0 \"q\" : bfloat16(2, 4, 5, 8)\n"
                            "input %1 \"k\" : bfloat16(2, 4, 7, 8)\n"
                            "input %2 \"v\" : bfloat16(2, 4, 7, 8)\n"
                            "%10 : float32(2, 4, 5, 8) = aten._to_copy(%0) {dtype=float32}\n"
                            "%11 : float32(2, 4, 7, 8) = aten._to_copy(%1) {dtype=float32}\n"
                            "%12 : float32(2, 4, 8, 7) = aten.permute(%11) {dims=[0, 1, 3, 2]}\n"
                            "%13 : float32(2, 4, 5, 7) = aten.matmul(%10, %12)\n"
                            "%14 : float32(2, 4, 5, 7) = aten._softmax(%13) {dim=-1}\n"
                            "%15 : bfloat16(2, 4, 5, 7) = aten._to_copy(%14) {dtype=bfloat16}\n"
                            "%99 : bfloat16(2, 4, 5, 8) = aten.matmul(%15, %2)\n"
                            "output \"y\" %99\n");
  EXPECT_TRUE(is_fused(text)) << text;
  EXPECT_FALSE(has(text, "_to_copy")) << text;
}

TEST(FuseSoftmax, BatchesOfProducts) {
  // As matmul is decomposed: heads and batch are joined for each product.
  const std::string text = fused(
      "%10 : float32(2, 4, 8, s1) = aten.transpose.int(%1) {dim0=2, dim1=3}\n"
      "%11 : float32(8, s0, 8) = aten.view(%0) {size=[8, s0, 8]}\n"
      "%12 : float32(8, 8, s1) = aten.reshape(%10) {shape=[8, 8, s1]}\n"
      "%13 : float32(8, s0, s1) = aten.bmm(%11, %12)\n"
      "%14 : float32(2, 4, s0, s1) = aten.view(%13) {size=[2, 4, s0, s1]}\n"
      "%15 : float32(2, 4, s0, s1) = aten.add.Tensor(%14, %3)\n"
      "%16 : float32(8, s0, s1) = aten.view(%15) {size=[8, s0, s1]}\n"
      "%17 : float32(8, s0, s1) = aten._softmax(%16) {dim=2}\n"
      "%18 : float32(8, s1, 6) = aten.view(%2) {size=[8, s1, 6]}\n"
      "%99 : float32(8, s0, 6) = aten.bmm(%17, %18)\n");
  EXPECT_TRUE(is_fused(text)) << text;
  EXPECT_FALSE(has(text, "float32(8, s0, 8)") || has(text, "float32(8, s1, 6)")) << text;
  EXPECT_TRUE(has(text, "float32(8, s0, 6) = aten.view(")) << text;
}

TEST(FuseSoftmax, ThreeDims) {
  const std::string text =
      rewritten_and_cleaned(fuse_softmax,
                            "input %0 \"q\" : float32(b, 5, 8)\n"
                            "input %1 \"k\" : float32(b, 8, 7)\n"
                            "input %2 \"v\" : float32(b, 7, 8)\n"
                            "%13 : float32(b, 5, 7) = aten.bmm(%0, %1)\n"
                            "%14 : float32(b, 5, 7) = aten._softmax(%13) {dim=-1}\n"
                            "%99 : float32(b, 5, 8) = aten.bmm(%14, %2)\n"
                            "output \"y\" %99\n");
  EXPECT_TRUE(has(text, "float32(1, b, 5, 8) = aten.scaled_dot_product_attention(")) << text;
}

TEST(FuseSoftmax, OneKeyHeadForAll) {
  const std::string text = fused(
      "%10 : float32(2, 1, 8, s1) = aten.transpose.int(%5) {dim0=2, dim1=3}\n"
      "%20 : float32(2, 4, s0, s1) = aten.matmul(%0, %10)\n"
      "%50 : float32(2, 4, s0, s1) = aten._softmax(%20) {dim=3}\n"
      "%99 : float32(2, 4, s0, 6) = aten.matmul(%50, %6)\n");
  EXPECT_TRUE(is_fused(text)) << text;
  EXPECT_TRUE(has(text, "enable_gqa=true")) << text;
}

TEST(FuseSoftmax, KeepsWhatOthersRead) {
  for (const char* read : {"%20", "%40", "%50"}) {
    EXPECT_FALSE(is_fused(fused(attention(kScaled) + "output \"z\" " + read + "\n"))) << read;
  }
}

TEST(FuseSoftmax, KeepsOtherChains) {
  EXPECT_FALSE(is_fused(fused(attention(kScaled, "dim=2"))));
  for (const char* scores : {
           // Times a matrix, a masked sum times a number, three masks, a function of the scores.
           "%40 : float32(2, 4, s0, s1) = aten.mul.Tensor(%20, %3)\n",
           "%30 : float32(2, 4, s0, s1) = aten.add.Tensor(%20, %3)\n"
           "%40 : float32(2, 4, s0, s1) = aten.mul.Scalar(%30) {other=0.5}\n",
           "%30 : float32(2, 4, s0, s1) = aten.add.Tensor(%20, %3)\n"
           "%31 : float32(2, 4, s0, s1) = aten.add.Tensor(%30, %3)\n"
           "%40 : float32(2, 4, s0, s1) = aten.add.Tensor(%31, %3)\n",
           "%40 : float32(2, 4, s0, s1) = aten.add.Tensor(%20, %3) {alpha=2.0}\n",
           "%40 : float32(2, 4, s0, s1) = aten.sin(%20)\n",
       }) {
    EXPECT_FALSE(is_fused(fused(attention(scores)))) << scores;
  }
}

TEST(FuseSoftmax, KeepsMasksThatWidenTheScores) {
  const std::string text =
      rewritten_and_cleaned(fuse_softmax,
                            "input %0 \"q\" : float32(1, 4, 5, 8)\n"
                            "input %1 \"k\" : float32(1, 4, 8, 7)\n"
                            "input %2 \"v\" : float32(3, 4, 7, 8)\n"
                            "input %3 \"bias\" : float32(3, 1, 5, 7)\n"
                            "%13 : float32(1, 4, 5, 7) = aten.matmul(%0, %1)\n"
                            "%14 : float32(3, 4, 5, 7) = aten.add.Tensor(%13, %3)\n"
                            "%15 : float32(3, 4, 5, 7) = aten._softmax(%14) {dim=-1}\n"
                            "%99 : float32(3, 4, 5, 8) = aten.matmul(%15, %2)\n"
                            "output \"y\" %99\n");
  EXPECT_FALSE(is_fused(text)) << text;
}

TEST(FuseSoftmax, KeepsReadsBeforeWrites) {
  // The keys of before the update, which a single later call would no longer see.
  const std::string text =
      rewritten_and_cleaned(fuse_softmax,
                            "input %0 \"q\" : float32(1, 4, 5, 8)\n"
                            "input %1 \"row\" : float32(1, 4, 1, 8)\n"
                            "input %2 \"v\" : float32(1, 4, 7, 8)\n"
                            "input %3 \"position\" : int64()\n"
                            "state %4 \"cache\" : float32(1, 4, 7, 8)\n"
                            "%12 : float32(1, 4, 8, 7) = aten.permute(%4) {dims=[0, 1, 3, 2]}\n"
                            "%13 : float32(1, 4, 5, 7) = aten.matmul(%0, %12)\n"
                            "%14 : float32(1, 4, 7, 8) = cache_update(%4, %1, %3)\n"
                            "%15 : float32(1, 4, 5, 7) = aten._softmax(%13) {dim=-1}\n"
                            "%99 : float32(1, 4, 5, 8) = aten.matmul(%15, %2)\n"
                            "output \"y\" %99\n"
                            "output \"cache\" %14\n");
  EXPECT_FALSE(is_fused(text)) << text;
}

}  // namespace
}  // namespace ostinato::passes
