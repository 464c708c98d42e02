#include "passes/rewritten.h"

namespace ostinato::passes {
namespace {

std::string fused(const std::string& statements) {
  return rewritten_and_cleaned(fuse_gelu,
                               "input %0 \"x\" : float32(s0, 8)\n"
                               "input %1 \"other\" : float32(s0, 8)\n" +
                                   statements + "output \"y\" %99\n");
}

std::string call(int result, const std::string& arguments) {
  return "%" + std::to_string(result) + " : float32(s0, 8) = aten." + arguments + "\n";
}

bool is_fused(const std::string& text, const std::string& arguments) {
  const bool whole = text.find("= aten.gelu(" + arguments) != std::string::npos;
  return whole && text.find("aten.mul") == std::string::npos;
}

/// 1 + erf(x / √2) as %12.
const std::string kErf = call(10, "div.Scalar(%0) {other=1.4142135623730951}") +
                         call(11, "erf(%10)") + call(12, "add.Scalar(%11) {other=1.0}");

TEST(FuseGelu, WithErfInAnyOrder) {
  for (const std::string& product : {
           call(20, "mul.Scalar(%0) {other=0.5}") + call(99, "mul.Tensor(%20, %12)"),
           call(20, "mul.Scalar(%12) {other=0.5}") + call(99, "mul.Tensor(%0, %20)"),
           call(20, "mul.Tensor(%12, %0)") + call(99, "div.Scalar(%20) {other=2.0}"),
       }) {
    const std::string text = fused(kErf + product);
    EXPECT_TRUE(is_fused(text, "%0)")) << text;
  }
}

/// The product of x / 2 and 1 + tanh of %20.
const std::string kTanh = call(21, "tanh(%20)") + call(22, "add.Scalar(%21) {other=1.0}") +
                          call(23, "mul.Scalar(%0) {other=0.5}") + call(99, "mul.Tensor(%23, %22)");

TEST(FuseGelu, WithTanhHoweverTheCubeIsWritten) {
  const std::string outer =
      call(17, "add.Tensor(%0, %16)") + call(20, "mul.Scalar(%17) {other=0.7978845608028654}");
  const std::string inner = call(17, "add.Scalar(%16) {other=1.0}") +
                            call(18, "mul.Scalar(%0) {other=0.7978845608}") +
                            call(20, "mul.Tensor(%18, %17)");
  for (const std::string& argument : {
           call(15, "pow.Tensor_Scalar(%0) {exponent=3.0}") +
               call(16, "mul.Scalar(%15) {other=0.044715}") + outer,
           call(14, "mul.Tensor(%0, %0)") + call(15, "mul.Tensor(%14, %0)") +
               call(16, "mul.Scalar(%15) {other=0.044715}") + outer,
           call(14, "mul.Scalar(%0) {other=0.044715}") + call(15, "mul.Tensor(%14, %0)") +
               call(16, "mul.Tensor(%0, %15)") + outer,
           call(14, "mul.Scalar(%0) {other=0.044715}") + call(16, "mul.Tensor(%14, %0)") + inner,
       }) {
    const std::string text = fused(argument + kTanh);
    EXPECT_TRUE(is_fused(text, "%0) {approximate=\"tanh\"}")) << text;
  }
}

TEST(FuseGelu, OfWhatIsAProductItself) {
  const std::string text =
      fused(call(5, "mul.Scalar(%1) {other=0.5}") +
            call(10, "mul.Scalar(%5) {other=0.7071067811865476}") + call(11, "erf(%10)") +
            call(12, "add.Scalar(%11) {other=1.0}") + call(13, "mul.Scalar(%5) {other=0.5}") +
            call(99, "mul.Tensor(%13, %12)"));
  EXPECT_NE(text.find("= aten.gelu(%5)"), std::string::npos) << text;
}

TEST(FuseGelu, KeepsOtherProducts) {
  for (const std::string& statements : {
           // Another half, another x, a factor more, a bend that others read.
           kErf + call(20, "mul.Scalar(%0) {other=0.25}") + call(99, "mul.Tensor(%20, %12)"),
           kErf + call(20, "mul.Scalar(%1) {other=0.5}") + call(99, "mul.Tensor(%20, %12)"),
           kErf + call(20, "mul.Scalar(%1) {other=0.5}") + call(21, "mul.Tensor(%20, %0)") +
               call(99, "mul.Tensor(%21, %12)"),
           kErf + call(20, "mul.Scalar(%0) {other=0.5}") + call(99, "mul.Tensor(%20, %12)") +
               "output \"z\" %12\n",
           // Another root, another constant of the cube, a square in its place.
           call(10, "div.Scalar(%0) {other=1.5}") + call(11, "erf(%10)") +
               call(12, "add.Scalar(%11) {other=1.0}") + call(20, "mul.Scalar(%0) {other=0.5}") +
               call(99, "mul.Tensor(%20, %12)"),
           call(15, "pow.Tensor_Scalar(%0) {exponent=3.0}") +
               call(16, "mul.Scalar(%15) {other=0.04}") + call(17, "add.Tensor(%0, %16)") +
               call(20, "mul.Scalar(%17) {other=0.7978845608028654}") + kTanh,
           call(15, "pow.Tensor_Scalar(%0) {exponent=2.0}") +
               call(16, "mul.Scalar(%15) {other=0.044715}") + call(17, "add.Tensor(%0, %16)") +
               call(20, "mul.Scalar(%17) {other=0.7978845608028654}") + kTanh,
       }) {
    const std::string text = fused(statements);
    EXPECT_EQ(text.find("gelu"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace ostinato::passes
