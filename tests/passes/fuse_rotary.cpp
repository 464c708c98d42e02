#include "passes/rewritten.h"

namespace ostinato::passes {
namespace {

std::string fused(const std::string& statements) {
  return rewritten_and_cleaned(fuse_rotary,
                               "input %0 \"x\" : float32(1, 2, s0, 8)\n"
                               "input %1 \"cos\" : float32(1, 1, s0, 8)\n"
                               "input %2 \"sin\" : float32(1, 1, s0, 8)\n"
                               "input %3 \"cos4\" : float32(s0, 4)\n"
                               "input %4 \"sin4\" : float32(s0, 4)\n" +
                                   statements + "output \"y\" %20\n");
}

std::string turned(const std::string& first, const std::string& second) {
  return "%10 : float32(1, 2, s0, 4) = aten.slice.Tensor(%0) {dim=3, start=0, end=4}\n"
         "%11 : float32(1, 2, s0, 4) = aten.slice.Tensor(%0) {dim=-1, start=4, "
         "end=9223372036854775807}\n"
         "%12 : float32(1, 2, s0, 4) = aten.neg(" +
         first +
         ")\n"
         "%13 : float32(1, 2, s0, 8) = aten.cat([%12, " +
         second + "]) {dim=-1}\n";
}

TEST(FuseRotary, ByHalves) {
  for (const char* sum : {"%14, %15", "%15, %14"}) {
    const std::string text = fused(turned("%11", "%10") +
                                   "%14 : float32(1, 2, s0, 8) = aten.mul.Tensor(%0, %1)\n"
                                   "%15 : float32(1, 2, s0, 8) = aten.mul.Tensor(%13, %2)\n"
                                   "%20 : float32(1, 2, s0, 8) = aten.add.Tensor(" +
                                   sum + ")\n");
    EXPECT_NE(text.find("= rotary(%0, %1, %2)"), std::string::npos) << text;
    EXPECT_EQ(text.find("aten"), std::string::npos) << text;
  }
}

/// As (..., 2, half), unbound along that.
std::string unbound(const std::string& sizes, const std::string& half, int dim) {
  return "%9 : float32(1, 2, s0, " + sizes + ") = aten.view(%0) {size=[1, 2, s0, " + sizes +
         "]}\n%10 : float32(1, 2, s0, " + half + "), %11 : float32(1, 2, s0, " + half +
         ") = aten.unbind.int(%9) {dim=" + std::to_string(dim) + "}\n";
}

TEST(FuseRotary, OfUnboundHalves) {
  const std::string turn =
      "%12 : float32(1, 2, s0, 4) = aten.neg(%11)\n"
      "%17 : float32(1, 2, s0, 8) = aten.cat([%12, %10]) {dim=-1}\n"
      "%18 : float32(1, 2, s0, 8) = aten.mul.Tensor(%0, %1)\n"
      "%19 : float32(1, 2, s0, 8) = aten.mul.Tensor(%17, %2)\n"
      "%20 : float32(1, 2, s0, 8) = aten.add.Tensor(%18, %19)\n";
  for (const int dim : {-2, 3}) {
    const std::string text = fused(unbound("2, 4", "4", dim) + turn);
    EXPECT_NE(text.find("= rotary(%0, %1, %2)"), std::string::npos) << text;
    EXPECT_EQ(text.find("aten"), std::string::npos) << text;
  }
  // Unbound along the last dim, these are neighbours.
  const std::string neighbours = fused(unbound("4, 2", "4", 4) + turn);
  EXPECT_EQ(neighbours.find("rotary"), std::string::npos) << neighbours;
}

TEST(FuseRotary, FirstElementsOnly) {
  const std::string text = fused(
      "%5 : float32(1, 2, s0, 4) = aten.slice.Tensor(%0) {dim=3, start=0, end=4}\n"
      "%6 : float32(1, 2, s0, 4) = aten.slice.Tensor(%0) {dim=3, start=4, end=8}\n"
      "%10 : float32(1, 2, s0, 2) = aten.slice.Tensor(%5) {dim=3, start=0, end=2}\n"
      "%11 : float32(1, 2, s0, 2) = aten.slice.Tensor(%5) {dim=3, start=2, end=4}\n"
      "%12 : float32(1, 2, s0, 2) = aten.neg(%11)\n"
      "%13 : float32(1, 2, s0, 4) = aten.cat([%12, %10]) {dim=-1}\n"
      "%14 : float32(1, 2, s0, 4) = aten.mul.Tensor(%5, %3)\n"
      "%15 : float32(1, 2, s0, 4) = aten.mul.Tensor(%13, %4)\n"
      "%16 : float32(1, 2, s0, 4) = aten.add.Tensor(%14, %15)\n"
      "%20 : float32(1, 2, s0, 8) = aten.cat([%16, %6]) {dim=-1}\n");
  EXPECT_NE(text.find("= rotary(%0, %3, %4)"), std::string::npos) << text;
  EXPECT_EQ(text.find("aten"), std::string::npos) << text;
}

/// Rows of %0 (1, 2, 9, 8), of which the tables of 6 rows turn some.
std::string of_rows(const std::string& parts, const std::string& joined) {
  return rewritten_and_cleaned(fuse_rotary,
                               "input %0 \"x\" : float32(1, 2, 9, 8)\n"
                               "input %1 \"cos\" : float32(6, 8)\n"
                               "input %2 \"sin\" : float32(1, 6, 8)\n" +
                                   parts + "%20 : float32(1, 2, 9, 8) = aten.cat([" + joined +
                                   "]) {dim=-2}\noutput \"y\" %20\n");
}

TEST(FuseRotary, SomeRowsOnly) {
  const std::string behind = of_rows(
      "%3 : float32(1, 2, 3, 8), %4 : float32(1, 2, 6, 8) = aten.split_with_sizes(%0) "
      "{split_sizes=[3, 6], dim=-2}\n"
      "%5 : float32(1, 2, 6, 8) = rotary(%4, %1, %2)\n",
      "%3, %5");
  EXPECT_NE(behind.find("= aten.full() {size=[3, 8], fill_value=1"), std::string::npos) << behind;
  EXPECT_NE(behind.find("= aten.full() {size=[1, 3, 8], fill_value=0"), std::string::npos)
      << behind;
  EXPECT_NE(behind.find(", %1])\n"), std::string::npos) << behind;
  EXPECT_NE(behind.find(": float32(1, 2, 9, 8) = rotary(%0, "), std::string::npos) << behind;
  EXPECT_EQ(behind.find("split"), std::string::npos) << behind;
  const std::string front =
      "%3 : float32(1, 2, 6, 8) = aten.slice.Tensor(%0) {dim=2, start=0, end=6}\n"
      "%5 : float32(1, 2, 6, 8) = rotary(%3, %1, %2)\n";
  const std::string rest =
      "%4 : float32(1, 2, 3, 8) = aten.slice.Tensor(%0) {dim=2, start=6, end=9}\n";
  const std::string before = of_rows(front + rest, "%5, %4");
  EXPECT_NE(before.find("= aten.cat([%1, "), std::string::npos) << before;
  EXPECT_NE(before.find(": float32(1, 2, 9, 8) = rotary(%0, "), std::string::npos) << before;
  // In another order than they were, and beside other rows than theirs.
  for (const std::string& kept :
       {of_rows(front + rest, "%4, %5"),
        of_rows(
            front + "%4 : float32(1, 2, 3, 8) = aten.slice.Tensor(%0) {dim=2, start=5, end=8}\n",
            "%5, %4")}) {
    EXPECT_NE(kept.find(": float32(1, 2, 6, 8) = rotary("), std::string::npos) << kept;
  }
}

TEST(FuseRotary, KeepsRowsThatShareATablesRow) {
  const std::string text = rewritten_and_cleaned(
      fuse_rotary,
      "input %0 \"x\" : float32(1, 2, 9, 8)\n"
      "input %1 \"cos\" : float32(8)\n"
      "%3 : float32(1, 2, 3, 8), %4 : float32(1, 2, 6, 8) = aten.split_with_sizes(%0) "
      "{split_sizes=[3, 6], dim=2}\n"
      "%5 : float32(1, 2, 6, 8) = rotary(%4, %1, %1)\n"
      "%20 : float32(1, 2, 9, 8) = aten.cat([%3, %5]) {dim=2}\noutput \"y\" %20\n");
  EXPECT_NE(text.find("aten.cat"), std::string::npos) << text;
}

constexpr const char* kNeighbours =
    "%10 : float32(1, 2, s0, 4) = aten.slice.Tensor(%0) {dim=-1, start=0, step=2}\n"
    "%11 : float32(1, 2, s0, 4) = aten.slice.Tensor(%0) {dim=3, start=1, step=2}\n";

constexpr const char* kSum =
    "%18 : float32(1, 2, s0, 8) = aten.mul.Tensor(%0, %1)\n"
    "%19 : float32(1, 2, s0, 8) = aten.mul.Tensor(%17, %2)\n"
    "%20 : float32(1, 2, s0, 8) = aten.add.Tensor(%18, %19)\n";

// Tensors of shape (0) are joined along any dim, as in PyTorch.
TEST(FuseRotary, KeepsWhatJoinsNothing) {
  const std::string text =
      fused("input %5 \"none\" : float32(0)\n%20 : float32(0) = aten.cat([%5, %5]) {dim=2}\n");
  EXPECT_NE(text.find("aten.cat"), std::string::npos) << text;
}

TEST(FuseRotary, OfNeighbours) {
  const std::string negated = "%12 : float32(1, 2, s0, 4) = aten.neg(%11)\n";
  const std::string joined = "%17 : float32(1, 2, s0, 8) = aten.view(%16) {size=[1, 2, s0, 8]}\n";
  for (const std::string& stack :
       {std::string("%16 : float32(1, 2, s0, 4, 2) = aten.stack([%12, %10]) {dim=-1}\n"),
        std::string("%14 : float32(1, 2, s0, 4, 1) = aten.unsqueeze(%12) {dim=-1}\n"
                    "%15 : float32(1, 2, s0, 4, 1) = aten.view(%10) {size=[1, 2, s0, 4, 1]}\n"
                    "%16 : float32(1, 2, s0, 4, 2) = aten.cat([%14, %15]) {dim=-1}\n")}) {
    const std::string text = fused(kNeighbours + negated + stack + joined + kSum);
    EXPECT_NE(text.find("= rotary(%0, %1, %2) {interleaved=true}"), std::string::npos) << text;
    EXPECT_EQ(text.find("aten"), std::string::npos) << text;
  }
  // Neighbours put together as halves, and halves as neighbours.
  const std::string apart =
      fused(kNeighbours + negated + "%17 : float32(1, 2, s0, 8) = aten.cat([%12, %10]) {dim=-1}\n" +
            kSum);
  EXPECT_EQ(apart.find("rotary"), std::string::npos) << apart;
  const std::string together =
      fused(turned("%11", "%10") +
            "%16 : float32(1, 2, s0, 4, 2) = aten.stack([%12, %10]) {dim=-1}\n" + joined + kSum);
  EXPECT_EQ(together.find("rotary"), std::string::npos) << together;
}

/// (a · cos - b · sin, b · cos + a · sin), with the last product as given.
std::string by_parts(const std::string& last) {
  return "%12 : float32(1, 2, s0, 4) = aten.mul.Tensor(%10, %3)\n"
         "%13 : float32(1, 2, s0, 4) = aten.mul.Tensor(%11, %4)\n"
         "%14 : float32(1, 2, s0, 4) = aten.sub.Tensor(%12, %13)\n"
         "%15 : float32(1, 2, s0, 4) = aten.mul.Tensor(%11, %3)\n"
         "%16 : float32(1, 2, s0, 4) = aten.mul.Tensor(" +
         last +
         ")\n"
         "%17 : float32(1, 2, s0, 4) = aten.add.Tensor(%15, %16)\n";
}

TEST(FuseRotary, ByPartsWithHalfTables) {
  const std::string halves =
      "%10 : float32(1, 2, s0, 4), %11 : float32(1, 2, s0, 4) = aten.split.Tensor(%0) "
      "{split_size=4, dim=-1}\n";
  const std::string cat = "%20 : float32(1, 2, s0, 8) = aten.cat([%14, %17]) {dim=-1}\n";
  const std::string text = fused(halves + by_parts("%4, %10") + cat);
  EXPECT_NE(text.find("= aten.cat([%3, %3])"), std::string::npos) << text;
  EXPECT_NE(text.find("= rotary(%0, "), std::string::npos) << text;
  const std::string pairs =
      fused(kNeighbours + by_parts("%10, %4") +
            "%18 : float32(1, 2, s0, 4, 2) = aten.stack([%14, %17]) {dim=4}\n"
            "%20 : float32(1, 2, s0, 8) = aten.view(%18) {size=[1, 2, s0, 8]}\n");
  EXPECT_NE(pairs.find("{interleaved=true}"), std::string::npos) << pairs;
  EXPECT_NE(pairs.find("= aten.expand("), std::string::npos) << pairs;
  const std::string other = fused(halves + by_parts("%4, %11") + cat);
  EXPECT_EQ(other.find("rotary"), std::string::npos) << other;
}

TEST(FuseRotary, OfWhatWasCastToTheTables) {
  const std::string text =
      rewritten_and_cleaned(fuse_rotary,
                            "input %0 \"x\" : bfloat16(1, 2, s0, 8)\n"
                            "input %1 \"cos\" : float32(s0, 8)\n"
                            "%2 : float32(1, 2, s0, 8) = aten._to_copy(%0) {dtype=float32}\n"
                            "%3 : float32(1, 2, s0, 8) = rotary(%2, %1, %1)\n"
                            "output \"y\" %3\n");
  EXPECT_NE(text.find("= rotary(%0, %1, %1)"), std::string::npos) << text;
}

std::string rounded(const std::string& statements) {
  return rewritten_and_cleaned(fuse_rotary,
                               "input %0 \"x\" : bfloat16(1, 2, s0, 8)\n"
                               "input %1 \"cos\" : float32(s0, 8)\n"
                               "input %2 \"cos4\" : float32(s0, 4)\n" +
                                   statements);
}

TEST(FuseRotary, RoundsWhatIsCastBack) {
  const std::string turned = "%3 : float32(1, 2, s0, 8) = rotary(%0, %1, %1)\n";
  const std::string text =
      rounded(turned +
              "%4 : bfloat16(1, 2, s0, 8) = aten._to_copy(%3) {dtype=bfloat16}\noutput \"y\" %4\n");
  EXPECT_NE(text.find(": bfloat16(1, 2, s0, 8) = rotary(%0, %1, %1) {dtype=bfloat16}"),
            std::string::npos)
      << text;
  EXPECT_EQ(text.find("aten"), std::string::npos) << text;
  // To another dtype than the operand's, and where the sum is read before it is rounded.
  for (const std::string& statements :
       {turned + "%4 : float16(1, 2, s0, 8) = aten._to_copy(%3) {dtype=float16}\n",
        turned + "%4 : bfloat16(1, 2, s0, 8) = aten._to_copy(%3) {dtype=bfloat16}\n" +
            "output \"z\" %3\n"}) {
    const std::string kept = rounded(statements + "output \"y\" %4\n");
    EXPECT_NE(kept.find("= aten._to_copy("), std::string::npos) << kept;
  }
}

TEST(FuseRotary, RoundsFirstElementsOnly) {
  const std::string text = rounded(
      "%3 : bfloat16(1, 2, s0, 4) = aten.slice.Tensor(%0) {dim=3, start=0, end=4}\n"
      "%4 : bfloat16(1, 2, s0, 4) = aten.slice.Tensor(%0) {dim=3, start=4, end=8}\n"
      "%5 : bfloat16(1, 2, s0, 4) = rotary(%3, %2, %2) {dtype=bfloat16}\n"
      "%6 : bfloat16(1, 2, s0, 8) = aten.cat([%5, %4]) {dim=-1}\noutput \"y\" %6\n");
  EXPECT_NE(text.find(": bfloat16(1, 2, s0, 8) = rotary(%0, %2, %2) {dtype=bfloat16}"),
            std::string::npos)
      << text;
}

TEST(FuseRotary, KeepsOtherTurns) {
  // The first half negated, or the halves in their places.
  for (const auto& [first, second] : {std::pair{"%10", "%11"}, std::pair{"%10", "%10"}}) {
    const std::string text = fused(turned(first, second) +
                                   "%14 : float32(1, 2, s0, 8) = aten.mul.Tensor(%0, %1)\n"
                                   "%15 : float32(1, 2, s0, 8) = aten.mul.Tensor(%13, %2)\n"
                                   "%20 : float32(1, 2, s0, 8) = aten.add.Tensor(%14, %15)\n");
    EXPECT_EQ(text.find("rotary"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace ostinato::passes
