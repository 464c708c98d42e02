#include "passes/rewritten.h"

namespace ostinato::passes {
namespace {

std::string replaced(const std::string& statements) {
  return rewritten_and_cleaned(use_linear,
                               "input %0 \"x\" : float32(2, s0, 4)\n"
                               "input %1 \"rows\" : float32(6, 4)\n"
                               "constant %2 \"w\" : float32(4, 8)\n"
                               "constant %3 \"turned\" : float32(8, 4)\n"
                               "constant %4 \"b\" : float32(8)\n"
                               "constant %5 \"one\" : float32(1)\n" +
                                   statements);
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(UseLinear, OfRowsThatWereReshaped) {
  const std::string text = replaced(
      "%10 : float32(2*s0, 4) = aten.view(%0) {size=[2*s0, 4]}\n"
      "%11 : float32(2*s0, 8) = aten.addmm(%4, %10, %2)\n"
      "%12 : float32(2, s0, 8) = aten.view(%11) {size=[2, s0, 8]}\n"
      "output \"y\" %12\n");
  EXPECT_TRUE(has(text, "= aten.t(%2)")) << text;
  EXPECT_TRUE(has(text, "= aten.linear(%0, ")) << text;
  EXPECT_FALSE(has(text, "aten.addmm")) << text;
}

TEST(UseLinear, OfATurnedWeight) {
  const std::string turn = "%10 : float32(4, 8) = aten.permute(%3) {dims=[1, 0]}\n";
  const std::string biased =
      replaced(turn + "%11 : float32(6, 8) = aten.addmm(%4, %1, %10)\noutput \"y\" %11\n");
  EXPECT_TRUE(has(biased, "= aten.linear(%1, %3, %4)")) << biased;
  const std::string plain =
      replaced(turn + "%11 : float32(6, 8) = aten.mm(%1, %10)\noutput \"y\" %11\n");
  EXPECT_TRUE(has(plain, "= aten.linear(%1, %3, None)")) << plain;
}

TEST(UseLinear, OfBatchesAndTheirBias) {
  const std::string product =
      "%10 : float32(4, 8) = aten.t(%3)\n"
      "%11 : float32(2, s0, 8) = aten.matmul(%0, %10)\n";
  for (const char* operands : {"%11, %4", "%4, %11"}) {
    const std::string text = replaced(product + "%12 : float32(2, s0, 8) = aten.add.Tensor(" +
                                      operands + ")\noutput \"y\" %12\n");
    EXPECT_TRUE(has(text, "= aten.linear(%0, %3, %4)")) << text;
  }
  const std::string one = replaced(product +
                                   "%12 : float32(2, s0, 8) = aten.add.Tensor(%11, %5)\n"
                                   "output \"y\" %12\n");
  EXPECT_TRUE(has(one, "aten.add")) << one;
}

TEST(UseLinear, KeepsTheRest) {
  for (const char* statements : {
           // scaled, with a bias that broadcasts, by a matrix that is computed
           "%11 : float32(6, 8) = aten.addmm(%4, %1, %2) {alpha=2}\n",
           "%11 : float32(6, 8) = aten.addmm(%4, %1, %2) {beta=0.5}\n",
           "%11 : float32(6, 8) = aten.addmm(%5, %1, %2)\n",
           "%10 : float32(4, 8) = aten.neg(%2)\n"
           "%11 : float32(6, 8) = aten.mm(%1, %10)\n",
       }) {
    const std::string text = replaced(statements + std::string("output \"y\" %11\n"));
    EXPECT_FALSE(has(text, "linear")) << text;
  }
}

}  // namespace
}  // namespace ostinato::passes
