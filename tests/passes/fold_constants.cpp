#include "ostinato/ir/builder.h"
#include "passes/rewritten.h"

namespace ostinato::passes {
namespace {

/// Knows fills, negation and views of constants with so few elements that their order is plain.
std::vector<Tensor> evaluate(const ir::Node& node, std::span<const Tensor> operands) {
  Tensor result = Tensor::empty(node.results[0]->dtype(), to_integers(node.results[0]->shape()));
  for (int64_t i = 0; i < result.numel(); ++i) {
    const float* self = operands.empty() ? nullptr : operands[0].as<float>();
    if (node.op->name == "aten.full") {
      result.as<float>()[i] = static_cast<float>(node.real("fill_value"));
    } else if (node.op->name == "aten.neg") {
      result.as<float>()[i] = -self[i];
    } else if (node.op->name == "aten.t") {
      const int64_t rows = operands[0].shape()[0], columns = operands[0].shape()[1];
      result.as<float>()[i] = self[(i % rows) * columns + i / rows];
    } else {
      return {};
    }
  }
  return {result};
}

const PassContext kContext{.evaluate = evaluate};

TEST(FoldConstants, ComputesWhatDependsOnConstantsOnly) {
  EXPECT_EQ(rewritten_and_cleaned(fold_constants,
                                  "input %0 \"x\" : float32(2)\n"
                                  "constant %1 : float32(2) = [1.0, 2.0]\n"
                                  "%2 : float32(2) = aten.neg(%1)\n"
                                  "%3 : float32(2) = aten.neg(%2)\n"
                                  "%4 : float32(2) = aten.full() {size=[2], fill_value=7.0}\n"
                                  "%5 : float32(2) = aten.neg(%0)\n"
                                  "output \"a\" %3\noutput \"b\" %4\noutput \"c\" %5\n",
                                  kContext),
            "input %0 \"x\" : float32(2)\n"
            "constant %7 : float32(2) = [1.0, 2.0]\n"
            "constant %8 : float32(2) = [7.0, 7.0]\n"
            "%5 : float32(2) = aten.neg(%0)\n"
            "output \"a\" %7\noutput \"b\" %8\noutput \"c\" %5\n");
}

TEST(FoldConstants, LeavesViewsAndReadsThroughThem) {
  EXPECT_EQ(rewritten_and_cleaned(fold_constants,
                                  "constant %1 : float32(2, 2) = [1.0, 2.0, 3.0, 4.0]\n"
                                  "%2 : float32(2, 2) = aten.t(%1)\n"
                                  "%3 : float32(2, 2) = aten.neg(%2)\n"
                                  "output \"view\" %2\noutput \"computed\" %3\n",
                                  kContext),
            "constant %1 : float32(2, 2) = [1.0, 2.0, 3.0, 4.0]\n"
            "constant %4 : float32(2, 2) = [-1.0, -3.0, -2.0, -4.0]\n"
            "%2 : float32(2, 2) = aten.t(%1)\n"
            "output \"view\" %2\noutput \"computed\" %4\n");
}

TEST(FoldConstants, LeavesWhatItCannotCompute) {
  const std::string text =
      "input %0 \"x\" : float32(s0)\n"
      "constant %1 : float32(2) = [1.0, 2.0]\n"
      "constant %2 \"weight\" : float32(2)\n"
      "%3 : float32(2) = aten.exp(%1)\n"                                      // not known
      "%4 : float32(2) = aten.neg(%2)\n"                                      // no data
      "%5 : float32(s0) = aten.full() {size=[s0], fill_value=1.0}\n"          // no size
      "%6 : float32(262145) = aten.full() {size=[262145], fill_value=1.0}\n"  // too large
      "output \"a\" %3\noutput \"b\" %4\noutput \"c\" %5\noutput \"d\" %6\n";
  EXPECT_EQ(rewritten(fold_constants, text, kContext), text);
  EXPECT_EQ(rewritten(fold_constants, text), text);
}

/// Whether negating a weight of 1 MiB and a bit is done beforehand.
bool folds_weight(const std::function<void(ir::Builder&, ir::Value* weight)>& also_read) {
  ir::Graph graph;
  ir::Builder build(graph, ops::table());
  Tensor data = Tensor::empty(DType::float32, {512, 513});
  std::fill_n(data.as<float>(), data.numel(), 1.0f);
  ir::Value* weight = build.constant(data, "weight");
  graph.add_output("y", build("aten.neg", {build("aten.t", {weight})}));
  also_read(build, weight);
  const bool changed = fold_constants(graph, kContext);
  ir::verify(graph);
  return changed;
}

TEST(FoldConstants, NeverKeepsALargeWeightTwice) {
  EXPECT_TRUE(folds_weight([](ir::Builder&, ir::Value*) {}));
  EXPECT_FALSE(
      folds_weight([](ir::Builder& build, ir::Value* weight) { build("aten.exp", {weight}); }));
  EXPECT_FALSE(folds_weight(
      [](ir::Builder& build, ir::Value* weight) { build.graph().add_output("weight", weight); }));
}

}  // namespace
}  // namespace ostinato::passes
