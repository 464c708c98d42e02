#include "ostinato/ir/builder.h"
#include "passes/rewritten.h"

namespace ostinato::passes {
namespace {

TEST(EliminateCommon, ComputesEqualCallsOnce) {
  EXPECT_EQ(rewritten(eliminate_common,
                      "input %0 \"x\" : float32(4)\n"
                      "%1 : float32(4) = aten.neg(%0) @ \"first\"\n"
                      "%2 : float32(4) = aten.neg(%0) @ \"second\"\n"
                      "%3 : float32(4) = aten.exp(%1)\n"
                      "%4 : float32(4) = aten.exp(%2)\n"
                      "%5 : float32(2), %6 : float32(2) = aten.split.Tensor(%3) {split_size=2}\n"
                      "%7 : float32(2), %8 : float32(2) = aten.split.Tensor(%4) {split_size=2}\n"
                      "output \"a\" %5\noutput \"b\" %7\noutput \"c\" %8\n"),
            "input %0 \"x\" : float32(4)\n"
            "%1 : float32(4) = aten.neg(%0) @ \"first\"\n"
            "%3 : float32(4) = aten.exp(%1)\n"
            "%5 : float32(2), %6 : float32(2) = aten.split.Tensor(%3) {split_size=2}\n"
            "output \"a\" %5\noutput \"b\" %5\noutput \"c\" %6\n");
}

TEST(EliminateCommon, TellsCallsApart) {
  const std::string text =
      "input %0 \"x\" : float32(4, s0)\n"
      "input %1 \"y\" : float32(4, s0)\n"
      "%2 : float32(4, s0) = aten.sub.Tensor(%0, %1)\n"
      "%3 : float32(4, s0) = aten.sub.Tensor(%1, %0)\n"
      "%4 : float32(4, s0) = aten.mul.Scalar(%0) {other=0.0}\n"
      "%5 : float32(4, s0) = aten.mul.Scalar(%0) {other=-0.0}\n"
      "%6 : float32(4, s0) = aten.mul.Scalar(%0) {other=0}\n"
      "%7 : float32(4, s0) = aten.mul.Scalar(%0) {other=s0}\n"
      "output \"a\" %2\noutput \"b\" %3\noutput \"c\" %4\noutput \"d\" %5\n"
      "output \"e\" %6\noutput \"f\" %7\n";
  EXPECT_EQ(rewritten(eliminate_common, text), text);
}

TEST(EliminateCommon, ReadsAStateAnewAfterAnOverwrite) {
  const std::string text =
      "input %0 \"x\" : float32(1, 1, 1, 2)\n"
      "input %1 \"position\" : int64()\n"
      "state %2 \"cache\" : float32(1, 1, 4, 2)\n"
      "%3 : float32(1, 1, 4, 2) = aten.neg(%2)\n"
      "%4 : float32(1, 1, 4, 2) = cache_update(%2, %0, %1)\n"
      "%5 : float32(1, 1, 4, 2) = aten.neg(%4)\n"
      "%6 : float32(1, 1, 4, 2) = cache_update(%4, %0, %1)\n"
      "output \"before\" %3\noutput \"after\" %5\n";
  EXPECT_EQ(rewritten(eliminate_common, text), text);
}

TEST(EliminateCommon, KeepsEqualConstantsOnce) {
  EXPECT_EQ(rewritten_and_cleaned(eliminate_common,
                                  "input %0 \"x\" : float32(2)\n"
                                  "constant %1 : float32() = [2.0]\n"
                                  "constant %2 : float32() = [2.0]\n"
                                  "constant %3 : float32(1) = [2.0]\n"
                                  "%4 : float32(2) = aten.mul.Tensor(%0, %1)\n"
                                  "%5 : float32(2) = aten.mul.Tensor(%0, %2)\n"
                                  "%6 : float32(2) = aten.mul.Tensor(%0, %3)\n"
                                  "output \"a\" %4\noutput \"b\" %5\noutput \"c\" %6\n"),
            "input %0 \"x\" : float32(2)\n"
            "constant %1 : float32() = [2.0]\n"
            "constant %3 : float32(1) = [2.0]\n"
            "%4 : float32(2) = aten.mul.Tensor(%0, %1)\n"
            "%6 : float32(2) = aten.mul.Tensor(%0, %3)\n"
            "output \"a\" %4\noutput \"b\" %4\noutput \"c\" %6\n");
}

TEST(EliminateCommon, KeepsTiedWeightsOnce) {
  ir::Graph graph;
  ir::Builder build(graph, ops::table());
  Tensor shared = Tensor::empty(DType::float32, {4});
  Tensor other = Tensor::empty(DType::float32, {4});
  std::fill_n(shared.as<float>(), 4, 1.0f);
  std::fill_n(other.as<float>(), 4, 1.0f);
  ir::Value* embedding = build.constant(shared, "embedding");
  ir::Value* head = build.constant(shared, "head");
  ir::Value* bias = build.constant(other, "bias");  // equal, but not the same memory
  graph.add_output("y", build("aten.cat", {embedding, head, bias}));
  EXPECT_TRUE(eliminate_common(graph, {}));
  const auto& operands = graph.nodes().front()->operands;
  EXPECT_EQ(operands, (std::vector<ir::Value*>{embedding, embedding, bias}));
  EXPECT_FALSE(eliminate_common(graph, {}));
}

}  // namespace
}  // namespace ostinato::passes
