#include "passes/rewritten.h"

namespace ostinato::passes {
namespace {

std::string fused(const std::string& statements) {
  return rewritten(fuse_elementwise,
                   "input %0 \"x\" : float32(s0, 64)\n"
                   "input %1 \"y\" : float32(s0, 64)\n"
                   "input %2 \"bias\" : float32(64)\n" +
                       statements);
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

size_t count(const std::string& text, const std::string& part) {
  size_t times = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) ++times;
  return times;
}

TEST(FuseElementwise, MakesOneCallOfAChain) {
  const std::string text = fused(
      "%10 : float32(s0, 64) = aten.add.Tensor(%0, %2) {alpha=2}\n"
      "%11 : bfloat16(s0, 64) = aten._to_copy(%10) {dtype=bfloat16}\n"
      "%12 : bfloat16(s0, 64) = aten.gelu(%11) {approximate=\"tanh\"}\n"
      "output \"z\" %12\n");
  EXPECT_TRUE(has(text,
                  " : bfloat16(s0, 64) = fused_elementwise([%0, %2]) {program=\"%2 = "
                  "aten.add.Tensor(%0, %1) {alpha=2}; %3 = aten._to_copy(%2) {dtype=bfloat16}; "
                  "%4 = aten.gelu(%3) {approximate=\\\"tanh\\\"}\"}"))
      << text;
  EXPECT_EQ(count(text, "aten."), 3u) << text;
}

TEST(FuseElementwise, TakesBranchesThatMeetAgain) {
  const std::string text = fused(
      "%10 : bool(s0, 64) = aten.gt.Scalar(%0) {other=0.0}\n"
      "%11 : float32(s0, 64) = aten.exp(%0)\n"
      "%12 : float32(s0, 64) = aten.mul.Tensor(%11, %1)\n"
      "%13 : float32(s0, 64) = aten.where.self(%10, %11, %12)\n"
      "output \"z\" %13\n");
  EXPECT_TRUE(has(text, "fused_elementwise([%0, %1])")) << text;
  EXPECT_EQ(count(text, "= fused_elementwise"), 1u) << text;
  EXPECT_EQ(count(text, "aten."), 4u) << text;
}

TEST(FuseElementwise, EndsInAReduction) {
  for (const char* call :
       {"aten.sum.dim_IntList(%10) {dim=[-1], keepdim=true}",
        "aten.mean.dim(%10) {dim=[1], keepdim=true}", "aten.amax(%10) {dim=[-1], keepdim=true}",
        "aten.amin(%10) {dim=[1], keepdim=true}"}) {
    const std::string text =
        fused("%10 : float32(s0, 64) = aten.mul.Tensor(%0, %0)\n%11 : float32(s0, 1) = " +
              std::string(call) + "\noutput \"z\" %11\n");
    EXPECT_TRUE(has(text, ": float32(s0, 1) = fused_reduction([%0]) {program=\"")) << text;
  }
  // Not over the first dim, nor over one whose length may leave all but one thread without work.
  for (const char* statements : {"%10 : float32(s0, 64) = aten.mul.Tensor(%0, %0)\n"
                                 "%11 : float32(64) = aten.sum.dim_IntList(%10) {dim=[0]}\n",
                                 "%10 : float32(s0, 64) = aten.mul.Tensor(%0, %0)\n"
                                 "%11 : float32() = aten.sum.dim_IntList(%10) {dim=[0, 1]}\n"}) {
    EXPECT_FALSE(has(fused(statements + std::string("output \"z\" %11\n")), "fused")) << statements;
  }
}

TEST(FuseElementwise, LeavesWhatOthersRead) {
  // An output within; an operand of another call.
  const std::string outputs = fused(
      "%10 : float32(s0, 64) = aten.exp(%0)\n"
      "%11 : float32(s0, 64) = aten.neg(%10)\n"
      "%12 : float32(s0, 64) = aten.mul.Tensor(%11, %1)\n"
      "output \"a\" %10\noutput \"z\" %12\n");
  EXPECT_TRUE(has(outputs, "%10 : float32(s0, 64) = aten.exp(%0)")) << outputs;
  EXPECT_TRUE(has(outputs, "fused_elementwise([%10, %1])")) << outputs;
  const std::string shared = fused(
      "%10 : float32(s0, 64) = aten.exp(%0)\n"
      "%11 : float32(s0, 64) = aten._softmax(%10) {dim=-1}\n"
      "%12 : float32(s0, 64) = aten.mul.Tensor(%10, %11)\n"
      "output \"z\" %12\n");
  EXPECT_FALSE(has(shared, "fused")) << shared;
}

TEST(FuseElementwise, ComputesNothingOnceForEachRow) {
  // The bias' sum is of the bias' size.
  const std::string text = fused(
      "%10 : float32(64) = aten.exp(%2)\n"
      "%11 : float32(s0, 64) = aten.mul.Tensor(%0, %10)\n"
      "output \"z\" %11\n");
  EXPECT_FALSE(has(text, "fused")) << text;
}

TEST(FuseElementwise, LeavesStatesSymbolsAndTurnedCopies) {
  const std::string state = fused(
      "state %3 \"cache\" : float32(1, 1, 8, 4)\n"
      "input %4 \"position\" : int64()\n"
      "input %5 \"row\" : float32(1, 1, 1, 4)\n"
      "%10 : float32(1, 1, 8, 4) = aten.exp(%3)\n"
      "%11 : float32(1, 1, 8, 4) = cache_update(%3, %5, %4)\n"
      "%12 : float32(1, 1, 8, 4) = aten.neg(%10)\n"
      "output \"z\" %12\n");
  EXPECT_FALSE(has(state, "fused")) << state;
  const std::string symbol = fused(
      "%10 : float32(s0, 64) = aten.mul.Scalar(%0) {other=s0}\n"
      "%11 : float32(s0, 64) = aten.neg(%10)\n"
      "output \"z\" %11\n");
  EXPECT_FALSE(has(symbol, "fused")) << symbol;
  const std::string turned = fused(
      "%10 : float32(64, s0) = aten.t(%0)\n"
      "%11 : bfloat16(64, s0) = aten._to_copy(%10) {dtype=bfloat16}\n"
      "%12 : bfloat16(64, s0) = aten.neg(%11)\n"
      "output \"z\" %12\n");
  EXPECT_FALSE(has(turned, "fused")) << turned;
}

TEST(FuseElementwise, HoldsNoMoreMemory) {
  // The sum of two products' results frees one of them before the third product runs.
  const std::string statements =
      "constant %3 \"w\" : float32(64, 64)\n"
      "%10 : float32(s0, 64) = aten.mm(%0, %3)\n"
      "%11 : float32(s0, 64) = aten.mm(%10, %3)\n"
      "%12 : float32(s0, 64) = aten.add.Tensor(%10, %11)\n"
      "%13 : float32(s0, 64) = aten.mm(%1, %3)\n"
      "%14 : float32(s0, 64) = aten.mul.Tensor(%12, %13)\n"
      "output \"z\" %14\n";
  EXPECT_FALSE(has(fused(statements), "fused")) << fused(statements);
}

TEST(FuseElementwise, KeepsWithinTheKernelsOperands) {
  std::string statements, last = "%0";
  for (int i = 0; i < 12; ++i) {
    const std::string input = "%" + std::to_string(100 + i), sum = "%" + std::to_string(200 + i);
    statements = "input " + input + " \"i" + std::to_string(i) + "\" : float32(s0, 64)\n" +
                 statements + sum + " : float32(s0, 64) = aten.add.Tensor(" + last + ", " + input +
                 ")\n";
    last = sum;
  }
  const std::string text = fused(statements + "output \"z\" " + last + "\n");
  EXPECT_EQ(count(text, "= fused_elementwise"), 2u) << text;
}

}  // namespace
}  // namespace ostinato::passes
