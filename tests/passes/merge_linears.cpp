#include "passes/rewritten.h"

namespace ostinato::passes {
namespace {

std::string merged(const std::string& statements) {
  return rewritten(merge_linears,
                   "input %0 \"x\" : float32(s0, 4)\n"
                   "input %1 \"z\" : float32(s0, 4)\n"
                   "constant %2 \"a\" : float32(8, 4)\n"
                   "constant %3 \"b\" : float32(3, 4)\n"
                   "constant %4 \"c\" : float32(3)\n" +
                       statements);
}

TEST(MergeLinears, OfOneOperand) {
  const std::string text = merged(
      "%10 : float32(s0, 8) = aten.linear(%0, %2, None)\n"
      "%11 : float32(s0, 8) = aten.neg(%10)\n"
      "%12 : float32(s0, 3) = aten.linear(%0, %3, %4)\n"
      "output \"y\" %11\noutput \"z\" %12\n");
  EXPECT_NE(text.find(" = linears(%0, [%2, None, %3, %4])"), std::string::npos) << text;
  EXPECT_EQ(text.find("aten.linear"), std::string::npos) << text;
}

TEST(MergeLinears, KeepsTheRest) {
  const std::string first = "%10 : float32(s0, 8) = aten.linear(%0, %2, None)\n";
  const std::string outputs = "output \"y\" %10\noutput \"z\" %12\n";
  for (const std::string& statements : {
           // of another operand, behind another product, with a weight that is computed, one alone
           first + "%12 : float32(s0, 3) = aten.linear(%1, %3, None)\n" + outputs,
           first + "%11 : float32(s0, 8) = aten.linear(%1, %2, None)\n" +
               "%12 : float32(s0, 3) = aten.linear(%0, %3, None)\n" + outputs +
               "output \"x\" %11\n",
           first + "%11 : float32(3, 4) = aten.neg(%3)\n" +
               "%12 : float32(s0, 3) = aten.linear(%0, %11, None)\n" + outputs,
           first + "output \"y\" %10\n",
       }) {
    const std::string text = merged(statements);
    EXPECT_EQ(text.find("linears"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace ostinato::passes
