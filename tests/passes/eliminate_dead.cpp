#include "passes/rewritten.h"

namespace ostinato::passes {
namespace {

TEST(EliminateDead, RemovesWhatNobodyReads) {
  EXPECT_EQ(rewritten(eliminate_dead,
                      "input %0 \"x\" : float32(2)\n"
                      "input %1 \"unread\" : float32(2)\n"
                      "constant %2 : float32(2) = [1.0, 2.0]\n"
                      "constant %3 : float32(2) = [3.0, 4.0]\n"
                      "%4 : float32(2) = aten.add.Tensor(%0, %2)\n"
                      "%5 : float32(2) = aten.neg(%4)\n"
                      "%6 : float32(2) = aten.mul.Tensor(%0, %3)\n"
                      "output \"y\" %6\n"),
            "input %0 \"x\" : float32(2)\n"
            "input %1 \"unread\" : float32(2)\n"
            "constant %3 : float32(2) = [3.0, 4.0]\n"
            "%6 : float32(2) = aten.mul.Tensor(%0, %3)\n"
            "output \"y\" %6\n");
}

TEST(EliminateDead, KeepsOverwritesAndWhatTheyRead) {
  const std::string text =
      "input %0 \"x\" : float32(1, 1, 1, 2)\n"
      "input %1 \"position\" : int64()\n"
      "state %2 \"cache\" : float32(1, 1, 4, 2)\n"
      "%3 : float32(1, 1, 1, 2) = aten.neg(%0)\n"
      "%4 : float32(1, 1, 4, 2) = cache_update(%2, %3, %1)\n"
      "output \"x\" %0\n";
  EXPECT_EQ(rewritten(eliminate_dead, text), text);
}

TEST(EliminateDead, KeepsACallOfWhichOneResultIsRead) {
  const std::string text =
      "input %0 \"x\" : float32(4)\n"
      "%1 : float32(2), %2 : float32(2) = aten.split.Tensor(%0) {split_size=2}\n"
      "output \"y\" %2\n";
  EXPECT_EQ(rewritten(eliminate_dead, text), text);
}

}  // namespace
}  // namespace ostinato::passes
