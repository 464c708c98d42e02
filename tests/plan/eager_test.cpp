#include "ostinato/plan/eager.h"

#include <gtest/gtest.h>

#include "ostinato/ir/builder.h"
#include "ostinato/ops/ops.h"
#include "ostinato/plan/memory.h"

namespace ostinato::plan {
namespace {

using ir::Builder;
using ir::Graph;
using ir::Value;

constexpr size_t kBytes = 128;  // of a float32 value (4, 8): two units of alignment

class EagerPeak : public testing::Test {
 protected:
  Value* add(Value* a, Value* b) { return build_("aten.add.Tensor", {a, b}); }
  Value* softmax(Value* a) { return build_("aten._softmax", {a}, {{"dim", -1}}); }
  size_t peak(Value* output) {
    graph_.add_output("y", output);
    return eager_peak(graph_);
  }

  Graph graph_;
  Builder build_{graph_, ops::table()};
  Value* x_ = graph_.add_input("x", {DType::float32, {4, 8}});
};

TEST_F(EagerPeak, CountsWhatACallReadsAndWrites) {
  EXPECT_EQ(peak(softmax(softmax(softmax(x_)))), 2 * kBytes);
}

TEST_F(EagerPeak, KeepsWhatIsReadLater) {
  Value* first = softmax(x_);
  EXPECT_EQ(peak(add(softmax(softmax(first)), first)), 3 * kBytes);
}

TEST_F(EagerPeak, LeavesOutputsToTheCaller) {
  Value* first = softmax(x_);
  graph_.add_output("first", build_("aten.t", {first}));
  EXPECT_EQ(peak(softmax(softmax(first))), kBytes);
}

TEST_F(EagerPeak, DropsWhatNothingReads) {
  softmax(x_);
  EXPECT_EQ(peak(softmax(x_)), kBytes);
}

TEST_F(EagerPeak, ViewsTakeNothingAndKeepWhatTheyShow) {
  Value* turned = build_("aten.t", {softmax(x_)});
  Value* back = build_("aten.t", {turned});
  EXPECT_EQ(peak(add(softmax(softmax(back)), back)), 3 * kBytes);
}

TEST_F(EagerPeak, AViewThatMustCopyIsAnAllocation) {
  Value* turned = build_("aten.t", {softmax(x_)});
  Value* flat = build_("aten.view", {turned}, {{"size", ir::Shape{32}}});
  EXPECT_EQ(peak(build_("aten.relu", {flat})), 2 * kBytes);
}

TEST_F(EagerPeak, RoundsSmallValuesUp) {
  Value* sum = build_("aten.sum", {x_});
  EXPECT_EQ(peak(add(add(sum, sum), sum)), 2 * kAlignment);
}

TEST_F(EagerPeak, StatesTakeNothing) {
  Value* cache = graph_.add_state("cache", {DType::float32, {1, 1, 64, 8}});
  Value* position = graph_.add_input("position", {DType::int64, {}});
  Value* value = build_("aten.view", {x_}, {{"size", ir::Shape{1, 1, 4, 8}}});
  Value* updated = build_("cache_update", {cache, value, position});
  EXPECT_EQ(peak(softmax(softmax(updated))), 64 * 8 * 4u);
}

}  // namespace
}  // namespace ostinato::plan
