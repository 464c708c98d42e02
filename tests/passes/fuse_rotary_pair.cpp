#include "passes/rewritten.h"

namespace ostinato::passes {
namespace {

std::string fused(const std::string& statements) {
  return rewritten_and_cleaned(fuse_rotary_pair,
                               "input %0 \"q\" : float32(1, s0, 4, 8)\n"
                               "input %1 \"k\" : float32(1, s0, 2, 8)\n"
                               "input %2 \"v\" : float32(1, 2, s0, 8)\n"
                               "input %3 \"cos\" : float32(s0, 8)\n"
                               "input %4 \"sin\" : float32(s0, 8)\n"
                               "input %5 \"p\" : int64()\n"
                               "constant %6 \"qw\" : float32(8)\n"
                               "constant %7 \"kw\" : float32(8)\n"
                               "state %8 \"keys\" : float32(1, 2, 16, 8)\n"
                               "state %9 \"values\" : float32(1, 2, 16, 8)\n" +
                                   statements);
}

std::string normed(const std::string& key_eps) {
  return "%10 : float32(1, s0, 4, 8) = rms_norm(%0, %6) {eps=1e-06}\n"
         "%11 : float32(1, 4, s0, 8) = aten.permute(%10) {dims=[0, 2, 1, 3]}\n"
         "%12 : float32(1, s0, 2, 8) = rms_norm(%1, %7) {eps=" +
         key_eps +
         "}\n"
         "%13 : float32(1, 2, s0, 8) = aten.transpose.int(%12) {dim0=1, dim1=2}\n";
}

constexpr const char* kPlain =
    "%11 : float32(1, 4, s0, 8) = aten.permute(%0) {dims=[0, 2, 1, 3]}\n"
    "%13 : float32(1, 2, s0, 8) = aten.permute(%1) {dims=[0, 2, 1, 3]}\n";

const std::string kTurned =
    "%14 : float32(1, 4, s0, 8) = rotary(%11, %3, %4)\n"
    "%15 : float32(1, 2, s0, 8) = rotary(%13, %3, %4)\n";

const std::string kOutputs = "output \"y\" %14\noutput \"z\" %15\n";

TEST(FuseRotaryPair, OfQueriesAndKeys) {
  const std::string text = fused(kPlain + kTurned + kOutputs);
  EXPECT_NE(text.find("= rotary_pair(%11, %13, %3, %4, None, None)\n"), std::string::npos) << text;
}

TEST(FuseRotaryPair, TakesNormsOfBoth) {
  const std::string text = fused(normed("1e-06") + kTurned + kOutputs);
  EXPECT_NE(text.find(", %3, %4, %6, %7) {eps=1e-06}"), std::string::npos) << text;
  EXPECT_EQ(text.find("rms_norm"), std::string::npos) << text;
  // Norms of two kinds stay, and one that is read elsewhere.
  const std::string two = fused(normed("0.1") + kTurned + kOutputs);
  EXPECT_NE(two.find("= rotary_pair(%11, %13, %3, %4, None, None)\n"), std::string::npos) << two;
  const std::string read = fused(normed("1e-06") + kTurned + kOutputs + "output \"x\" %12\n");
  EXPECT_NE(read.find("rms_norm(%1"), std::string::npos) << read;
}

std::string cached(const std::string& between, const std::string& position = "%5") {
  return kPlain + kTurned + "%16 : float32(1, 2, 16, 8) = cache_update(%8, %15, %5)\n" + between +
         "%17 : float32(1, 2, 16, 8) = cache_update(%9, %2, " + position +
         ")\n"
         "%18 : float32(1, 4, s0, 8) = attention(%14, %16, %17, None, %5, None) {causal=true}\n"
         "output \"y\" %18\n";
}

TEST(FuseRotaryPair, WithTablesInFloat32) {
  const auto pair = [](const std::string& dtype) {
    const std::string type = " : " + dtype + "(1, s0, 4, 8)";
    return rewritten_and_cleaned(
        fuse_rotary_pair,
        "input %0 \"q\" : bfloat16(1, s0, 4, 8)\ninput %1 \"k\" : bfloat16(1, s0, 4, 8)\n"
        "input %2 \"cos\" : float32(1, s0, 1, 8)\n%3" +
            type + " = rotary(%0, %2, %2) {dtype=" + dtype + "}\n%4" + type +
            " = rotary(%1, %2, %2) {dtype=" + dtype + "}\noutput \"y\" %3\noutput \"z\" %4\n");
  };
  const std::string text = pair("bfloat16");
  EXPECT_NE(text.find("= rotary_pair(%0, %1, %2, %2, None, None)\n"), std::string::npos) << text;
  EXPECT_EQ(pair("float32").find("rotary_pair"), std::string::npos);
}

TEST(FuseRotaryPair, WritesTheCaches) {
  const std::string text = fused(cached(""));
  EXPECT_NE(text.find("= rotary_cache(%11, %8, %13, %9, %2, %5, %3, %4, None, None)\n"),
            std::string::npos)
      << text;
  EXPECT_EQ(text.find("cache_update"), std::string::npos) << text;
  EXPECT_EQ(text.find("rotary_pair"), std::string::npos) << text;
}

TEST(FuseRotaryPair, KeepsWritesThatDoNotBelongTogether) {
  for (const std::string& statements :
       {// at two places, where the keys are read before, and where something else reads them
        cached("%20 : int64() = aten.add.Scalar(%5) {other=1}\n", "%20"),
        cached("%20 : float32(1, 2, 16, 8) = aten.neg(%16)\n") + "output \"z\" %20\n",
        cached("") + "output \"z\" %15\n"}) {
    const std::string text = fused(statements);
    EXPECT_EQ(text.find("rotary_cache"), std::string::npos) << text;
    EXPECT_NE(text.find("rotary_pair"), std::string::npos) << text;
  }
}

TEST(FuseRotaryPair, LeavesOutWhatNothingReads) {
  const std::string text =
      fused(kPlain + std::string("%14 : float32(1, 4, s0, 8) = rotary(%11, %3, %4)\n"
                                 "%15 : float32(1, 2, s0, 8) = rotary(%13, %3, %4)\n"
                                 "%16 : float32(1, 2, s0, 8) = aten.neg(%13)\n"
                                 "%17 : float32(1, 2, s0, 8) = rotary(%16, %3, %4)\n"
                                 "%18 : float32(1, 2, s0, 8) = aten.neg(%17)\n"
                                 "output \"y\" %18\n"));
  EXPECT_EQ(text.find("rotary_pair"), std::string::npos) << text;
}

TEST(FuseRotaryPair, KeepsOthersApart) {
  // By other tables, of other lengths, and where the second is of the first.
  for (const std::string& turned :
       {std::string("%14 : float32(1, 4, s0, 8) = rotary(%11, %3, %4)\n"
                    "%15 : float32(1, 2, s0, 8) = rotary(%13, %4, %3)\n"),
        std::string("%14 : float32(1, 4, s0, 8) = rotary(%11, %3, %4)\n"
                    "%15 : float32(1, 4, s0, 8) = rotary(%14, %3, %4)\n"),
        std::string("%14 : float32(1, 4, s0, 8) = rotary(%11, %3, %4)\n"
                    "%20 : float32(1, 4, s0, 8) = aten.neg(%14)\n"
                    "%15 : float32(1, 4, s0, 8) = rotary(%20, %3, %4)\n")}) {
    const std::string text = fused(kPlain + turned + kOutputs);
    EXPECT_EQ(text.find("rotary_pair"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace ostinato::passes
