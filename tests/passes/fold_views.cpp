#include "passes/rewritten.h"

namespace ostinato::passes {
namespace {

const std::string kInput = "input %0 \"x\" : float32(2, 3, s0)\n";

std::string folded(const std::string& statements) {
  return rewritten_and_cleaned(fold_views, kInput + statements);
}

TEST(FoldViews, MakesOneViewOfAChain) {
  EXPECT_EQ(folded("%1 : float32(6, s0) = aten.view(%0) {size=[6, s0]}\n"
                   "%2 : float32(6, 1, s0) = aten.unsqueeze(%1) {dim=1} @ \"here\"\n"
                   "%3 : float32(6*s0) = aten.reshape(%2) {shape=[-1]} @ \"there\"\n"
                   "output \"y\" %3\n"),
            kInput +
                "%5 : float32(6*s0) = aten.view(%0) {size=[6*s0]} @ \"there\"\n"
                "output \"y\" %5\n");
}

TEST(FoldViews, MakesNothingOfAChainThatComesBack) {
  EXPECT_EQ(folded("%1 : float32(2, 1, 3, s0) = aten.unsqueeze(%0) {dim=1}\n"
                   "%2 : float32(2, 3, s0) = aten.squeeze.dims(%1) {dim=[1]}\n"
                   "output \"y\" %2\n"),
            kInput + "output \"y\" %0\n");
}

TEST(FoldViews, LeavesAReshapeThatOthersReadToo) {
  // %1 may need a copy; then %2 would need one of its own.
  const std::string shared = kInput +
                             "%1 : float32(6, s0) = aten.view(%0) {size=[6, s0]}\n"
                             "%2 : float32(6*s0) = aten.view(%1) {size=[6*s0]}\n"
                             "output \"a\" %1\noutput \"b\" %2\n";
  EXPECT_EQ(rewritten(fold_views, shared), shared);
  // What only adds ones never does.
  EXPECT_EQ(folded("%1 : float32(2, 3, s0, 1) = aten.unsqueeze(%0) {dim=3}\n"
                   "%2 : float32(6*s0) = aten.view(%1) {size=[6*s0]}\n"
                   "output \"a\" %1\noutput \"b\" %2\n"),
            kInput +
                "%1 : float32(2, 3, s0, 1) = aten.unsqueeze(%0) {dim=3}\n"
                "%3 : float32(6*s0) = aten.view(%0) {size=[6*s0]}\n"
                "output \"a\" %1\noutput \"b\" %3\n");
}

TEST(FoldViews, ComposesPermutations) {
  EXPECT_EQ(folded("%1 : float32(s0, 2, 3) = aten.permute(%0) {dims=[2, 0, 1]}\n"
                   "%2 : float32(s0, 3, 2) = aten.transpose.int(%1) {dim0=1, dim1=-1}\n"
                   "output \"y\" %2\n"),
            kInput +
                "%3 : float32(s0, 3, 2) = aten.permute(%0) {dims=[2, 1, 0]}\n"
                "output \"y\" %3\n");
}

TEST(FoldViews, TakesAPermutationOfOnesForAReshape) {
  EXPECT_EQ(
      rewritten_and_cleaned(fold_views,
                            "input %0 \"x\" : float32(1, 8, 1, 16)\n"
                            "%1 : float32(1, 1, 8, 16) = aten.transpose.int(%0) {dim0=1, dim1=2}\n"
                            "%2 : float32(1, 128) = aten.view(%1) {size=[1, 128]}\n"
                            "output \"y\" %2\n"),
      "input %0 \"x\" : float32(1, 8, 1, 16)\n"
      "%3 : float32(1, 128) = aten.view(%0) {size=[1, 128]}\n"
      "output \"y\" %3\n");
}

TEST(FoldViews, KeepsAReshapeOfAPermutation) {
  const std::string text = kInput +
                           "%1 : float32(3, 2, s0) = aten.permute(%0) {dims=[1, 0, 2]}\n"
                           "%2 : float32(6, s0) = aten.view(%1) {size=[6, s0]}\n"
                           "output \"y\" %2\n";
  EXPECT_EQ(rewritten(fold_views, text), text);
}

TEST(FoldViews, MakesOneExpansionOfTwo) {
  EXPECT_EQ(
      rewritten_and_cleaned(fold_views,
                            "input %0 \"x\" : float32(1, 1, 4)\n"
                            "%1 : float32(1, 3, 4) = aten.expand(%0) {size=[1, 3, 4]}\n"
                            "%2 : float32(2, 5, 3, 4) = aten.expand(%1) {size=[2, 5, 3, -1]}\n"
                            "output \"y\" %2\n"),
      "input %0 \"x\" : float32(1, 1, 4)\n"
      "%3 : float32(2, 5, 3, 4) = aten.expand(%0) {size=[2, 5, 3, 4]}\n"
      "output \"y\" %3\n");
}

}  // namespace
}  // namespace ostinato::passes
