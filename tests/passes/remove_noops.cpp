#include <fmt/format.h>

#include "passes/rewritten.h"

namespace ostinato::passes {
namespace {

/// What `output "y"` is after the pass, of a call on %0 : float32(2, 1, s0), %1 : int64(3),
/// %2 : bfloat16(2, 2) and a state %3 : float32(2, 2).
std::string result_of(const std::string& call) {
  const std::string text = rewritten_and_cleaned(
      remove_noops, fmt::format("input %0 \"x\" : float32(2, 1, s0)\n"
                                "input %1 \"i\" : int64(3)\n"
                                "input %2 \"h\" : bfloat16(2, 2)\n"
                                "input %4 \"empty\" : float32(0)\n"
                                "input %5 \"f\" : float32(3)\n"
                                "constant %10 : float32() = [1.0]\n"
                                "constant %11 : float32() = [0.0]\n"
                                "constant %12 : float32() = [-0.0]\n"
                                "constant %13 : bool(2, 1, 1) = [true, true]\n"
                                "constant %14 : bool(1) = [false]\n"
                                "constant %15 : float32(3) = [1.0, 1.0, 2.0]\n"
                                "constant %16 : int64() = [0]\n"
                                "state %3 \"s\" : float32(2, 2)\n"
                                "%20 : {}\noutput \"y\" %20\n",
                                call));
  return text.substr(text.rfind('%'));
}

bool is_removed(const std::string& call, const std::string& operand = "%0") {
  const std::string result = result_of(call);
  if (result == operand + "\n") return true;
  EXPECT_EQ(result, "%20\n") << call;
  return false;
}

TEST(RemoveNoops, RemovesCopies) {
  for (const char* op : {"clone", "alias", "detach", "lift_fresh_copy", "_to_copy"}) {
    EXPECT_TRUE(is_removed(fmt::format("float32(2, 1, s0) = aten.{}(%0)", op))) << op;
  }
  EXPECT_FALSE(is_removed("float16(2, 1, s0) = aten._to_copy(%0) {dtype=float16}"));
  EXPECT_TRUE(is_removed("float32(2, 1, s0) = aten.copy(%0, %0)"));
  EXPECT_FALSE(is_removed("float32(2, 1, s0) = aten.copy(%0, %10)"));
}

TEST(RemoveNoops, RemovesViewsThatChangeNothing) {
  EXPECT_TRUE(is_removed("float32(2, 1, s0) = aten.view(%0) {size=[2, 1, s0]}"));
  EXPECT_FALSE(is_removed("float32(1, 2, s0) = aten.view(%0) {size=[1, 2, s0]}"));
  EXPECT_TRUE(is_removed("float32(2, 1, s0) = aten.expand(%0) {size=[2, -1, s0]}"));
  EXPECT_FALSE(is_removed("float32(2, 3, s0) = aten.expand(%0) {size=[2, 3, s0]}"));
  EXPECT_TRUE(is_removed("float32(2, 1, s0) = aten.squeeze.dim(%0) {dim=0}"));
  EXPECT_FALSE(is_removed("float32(2, s0) = aten.squeeze.dim(%0) {dim=1}"));
  EXPECT_TRUE(is_removed("float32(2, 1, s0) = aten.permute(%0) {dims=[0, 1, -1]}"));
  EXPECT_FALSE(is_removed("float32(1, 2, s0) = aten.permute(%0) {dims=[1, 0, 2]}"));
  EXPECT_FALSE(is_removed("bfloat16(2, 2) = aten.permute(%2) {dims=[1, 0]}", "%2"));
  EXPECT_TRUE(is_removed("bfloat16(2, 2) = aten.transpose.int(%2) {dim0=1, dim1=-1}", "%2"));
  EXPECT_FALSE(is_removed("bfloat16(2, 2) = aten.t(%2)", "%2"));
  EXPECT_TRUE(is_removed("int64(3) = aten.t(%1)", "%1"));
}

TEST(RemoveNoops, RemovesSlicesRepetitionsAndPaddingsOfNothing) {
  EXPECT_TRUE(
      is_removed("float32(2, 1, s0) = aten.slice.Tensor(%0) {dim=2, "
                 "end=9223372036854775807}"));
  EXPECT_TRUE(is_removed("float32(2, 1, s0) = aten.slice.Tensor(%0) {dim=1, step=4}"));
  EXPECT_FALSE(is_removed("float32(1, 1, s0) = aten.slice.Tensor(%0) {start=1}"));
  EXPECT_TRUE(is_removed("float32(2, 1, s0) = aten.repeat(%0) {repeats=[1, 1, 1]}"));
  EXPECT_FALSE(is_removed("float32(2, 2, s0) = aten.repeat(%0) {repeats=[1, 2, 1]}"));
  EXPECT_TRUE(is_removed("float32(2, 1, s0) = aten.constant_pad_nd(%0) {pad=[0, 0, 0, 0]}"));
  EXPECT_FALSE(is_removed("int64(3) = aten.constant_pad_nd(%1) {pad=[1, -1]}", "%1"));
  EXPECT_TRUE(is_removed("int64(3) = aten.roll(%1) {shifts=[0], dims=[0]}", "%1"));
  EXPECT_FALSE(is_removed("int64(3) = aten.roll(%1) {shifts=[1], dims=[0]}", "%1"));
  EXPECT_TRUE(is_removed("int64(3) = aten.flip(%1) {dims=[]}", "%1"));
  EXPECT_FALSE(is_removed("int64(3) = aten.flip(%1) {dims=[0]}", "%1"));
  EXPECT_TRUE(is_removed("float32(3) = aten.cat([%5])", "%5"));
  EXPECT_TRUE(is_removed("float32(3) = aten.cat([%4, %5, %4])", "%5"));
  EXPECT_FALSE(is_removed("float32(6) = aten.cat([%5, %5])", "%5"));
  EXPECT_FALSE(is_removed("float32(3) = aten.cat([%4, %1])", "%1"));  // another dtype
  EXPECT_TRUE(is_removed("bfloat16(2, 2) = aten.split_with_sizes(%2) {split_sizes=[2]}", "%2"));
}

TEST(RemoveNoops, RemovesArithmeticOnlyWhereEveryBitStays) {
  EXPECT_TRUE(is_removed("float32(2, 1, s0) = aten.mul.Scalar(%0) {other=1}"));
  EXPECT_TRUE(is_removed("float32(2, 1, s0) = aten.div.Scalar(%0) {other=1.0}"));
  EXPECT_FALSE(is_removed("float32(3) = aten.div.Scalar(%1) {other=1}", "%1"));  // true division
  EXPECT_FALSE(is_removed("float32(2, 1, s0) = aten.mul.Scalar(%0) {other=s0}"));
  EXPECT_TRUE(is_removed("float32(2, 1, s0) = aten.pow.Tensor_Scalar(%0) {exponent=1}"));
  EXPECT_TRUE(is_removed("int64(3) = aten.add.Scalar(%1) {other=0}", "%1"));
  // -0.0 + 0.0 is 0.0.
  EXPECT_FALSE(is_removed("float32(2, 1, s0) = aten.add.Scalar(%0) {other=0.0}"));
  EXPECT_FALSE(is_removed("float32(2, 1, s0) = aten.add.Scalar(%0) {other=0}"));
  EXPECT_TRUE(is_removed("float32(2, 1, s0) = aten.add.Scalar(%0) {other=-0.0}"));
  EXPECT_TRUE(is_removed("float32(2, 1, s0) = aten.sub.Scalar(%0) {other=0}"));
  EXPECT_FALSE(is_removed("float32(2, 1, s0) = aten.sub.Scalar(%0) {other=-0.0}"));
  EXPECT_FALSE(is_removed("float32(2, 1, s0) = aten.sub.Scalar(%0) {other=0, alpha=-1}"));
  EXPECT_TRUE(is_removed("float32(2, 1, s0) = aten.mul.Tensor(%0, %10)"));
  EXPECT_TRUE(is_removed("float32(2, 1, s0) = aten.mul.Tensor(%10, %0)"));
  EXPECT_TRUE(is_removed("float32(2, 1, s0) = aten.div.Tensor(%0, %10)"));
  EXPECT_FALSE(is_removed("float32(2, 1, s0) = aten.div.Tensor(%10, %0)"));
  EXPECT_FALSE(is_removed("float32(2, 1, s0) = aten.add.Tensor(%0, %11)"));
  EXPECT_TRUE(is_removed("float32(2, 1, s0) = aten.add.Tensor(%12, %0)"));
  EXPECT_TRUE(is_removed("float32(2, 1, s0) = aten.sub.Tensor(%0, %11)"));
  EXPECT_FALSE(is_removed("float32(2, 1, s0) = aten.sub.Tensor(%11, %0)"));
  EXPECT_TRUE(is_removed("int64(3) = aten.add.Tensor(%1, %16)", "%1"));
  EXPECT_FALSE(is_removed("float32(3) = aten.mul.Tensor(%5, %15)", "%5"));
}

TEST(RemoveNoops, RemovesChoicesThatAreNone) {
  EXPECT_TRUE(is_removed("float32(2, 1, s0) = aten.where.self(%13, %0, %10)"));
  EXPECT_TRUE(is_removed("float32(2, 1, s0) = aten.where.self(%14, %10, %0)"));
  EXPECT_FALSE(is_removed("float32(2, 1, s0) = aten.where.self(%14, %0, %10)"));
  EXPECT_TRUE(is_removed("float32(2, 1, s0) = aten.masked_fill.Scalar(%0, %14) {value=1.0}"));
  EXPECT_FALSE(is_removed("float32(2, 1, s0) = aten.masked_fill.Scalar(%0, %13) {value=1.0}"));
}

TEST(RemoveNoops, KeepsCopiesOfStates) {
  EXPECT_FALSE(is_removed("float32(2, 2) = aten.clone(%3)", "%3"));
  EXPECT_FALSE(is_removed("float32(2, 2) = aten.mul.Scalar(%3) {other=1}", "%3"));
  EXPECT_TRUE(is_removed("float32(2, 2) = aten.alias(%3)", "%3"));  // which was never a copy
}

TEST(RemoveNoops, FoldsCastsThatLoseNothing) {
  const std::string head = "input %0 \"x\" : bfloat16(2)\ninput %9 \"i\" : int64(2)\n";
  EXPECT_EQ(rewritten_and_cleaned(remove_noops,
                                  head + "%1 : float32(2) = aten._to_copy(%0) {dtype=float32}\n"
                                         "%2 : bfloat16(2) = aten._to_copy(%1) {dtype=bfloat16}\n"
                                         "output \"y\" %2\n"),
            head + "output \"y\" %0\n");
  EXPECT_EQ(rewritten_and_cleaned(remove_noops,
                                  head + "%1 : float32(2) = aten._to_copy(%0) {dtype=float32}\n"
                                         "%2 : float16(2) = aten._to_copy(%1) {dtype=float16}\n"
                                         "output \"y\" %2\n"),
            head + "%2 : float16(2) = aten._to_copy(%0) {dtype=float16}\noutput \"y\" %2\n");
  const std::string lossy = head +
                            "%1 : int32(2) = aten._to_copy(%9) {dtype=int32}\n"
                            "%2 : int64(2) = aten._to_copy(%1) {dtype=int64}\n"
                            "output \"y\" %2\n";
  EXPECT_EQ(rewritten(remove_noops, lossy), lossy);
}

}  // namespace
}  // namespace ostinato::passes
