#include "ostinato/ir/verifier.h"

#include <gtest/gtest.h>

#include "ostinato/ir/builder.h"
#include "ostinato/ops/ops.h"
#include "support/expect_error.h"

namespace ostinato::ir {
namespace {

/// x, a weight, a state and two calls; each test breaks one thing.
class VerifierTest : public testing::Test {
 protected:
  VerifierTest() : builder_(graph_, ops::table()) {
    x_ = graph_.add_input("x", {DType::float32, {2, 3}});
    weight_ = builder_.constant(Tensor::empty(DType::float32, {2, 3}), "weight");
    cache_ = graph_.add_state("cache", {DType::float32, {1, 1, 4, 3}});
    position_ = graph_.add_input("position", {DType::int64, {}});
    sum_ = builder_("aten.add.Tensor", {x_, weight_});
    last_ = builder_("aten._softmax", {sum_}, {{"dim", 1}});
    graph_.add_output("y", last_);
  }

  void expect_broken(const std::string& rule) {
    expect_error([this] { verify(graph_); }, ErrorCode::internal, rule);
  }

  /// Overwrites the first row of what the state holds at that point.
  Value* update(Value* cache) {
    Value* row = builder_("aten.view", {x_}, {{"size", Shape{1, 1, 2, 3}}});
    return builder_("cache_update", {cache, row, position_});
  }

  Graph graph_;
  Builder builder_;
  Value *x_, *weight_, *cache_, *position_, *sum_, *last_;
};

TEST_F(VerifierTest, TakesWhatIsSound) {
  Value* second = update(update(cache_));
  graph_.add_output("row", builder_("aten.select.int", {second}, {{"dim", 2}, {"index", 0}}));
  EXPECT_NO_THROW(verify(graph_));
}

TEST_F(VerifierTest, FindsAUseBeforeTheDefinition) {
  graph_.set_operand(sum_->producer, 0, last_);
  expect_broken("order: operand 0 of a aten.add.Tensor");
}

TEST_F(VerifierTest, FindsAValueOfAnotherGraph) {
  Graph other;
  graph_.set_operand(sum_->producer, 1, other.add_input("x", x_->type));
  expect_broken("order: operand 1");
  graph_.set_operand(sum_->producer, 1, x_);
  verify(graph_);
  graph_.add_output("stranger", other.inputs()[0]);
  expect_broken("outputs: output 'stranger'");
}

TEST_F(VerifierTest, FindsUsesThatDisagree) {
  x_->uses.clear();
  expect_broken("uses: ");
  x_->uses = {{sum_->producer, 0}};
  verify(graph_);
  x_->uses.push_back({sum_->producer, 0});
  expect_broken("uses: ");
  x_->uses = {{sum_->producer, 1}};
  expect_broken("uses: ");
  x_->uses = {{sum_->producer, 0}};
  x_->output_uses = 1;
  expect_broken("uses: %0 is 0 outputs");
}

TEST_F(VerifierTest, FindsTheWrongOperands) {
  graph_.set_operand(sum_->producer, 1, nullptr);
  expect_broken("row: %4 : float32(2, 3) = aten.add.Tensor(%0, None): [ops/aten.add.Tensor]");
  sum_->producer->operands.pop_back();
  expect_broken("expected 2 operands, got 1");
}

TEST_F(VerifierTest, FindsTheWrongAttributes) {
  last_->producer->attributes[0] = 1.5;
  expect_broken("expected 'dim' to be of kind integer, got 1.5");
  last_->producer->attributes.pop_back();
  expect_broken("expected 2 attributes, got 1");
}

TEST_F(VerifierTest, FindsTypesThatTheRuleDoesNotGive) {
  last_->type.shape[0] = Dim::symbol("s0");
  expect_broken("types: ");
  last_->type.shape[0] = 2;
  verify(graph_);
  last_->type.dtype = DType::float16;
  expect_broken("types: ");
}

TEST_F(VerifierTest, FindsResultsThatAreNotTheNodes) {
  last_->producer = sum_->producer;
  expect_broken("results: ");
}

TEST_F(VerifierTest, FindsNamesThatOccurTwice) {
  position_->name = "x";
  expect_broken("unique name: two inputs are named 'x'");
  position_->name = "weight";  // another kind's names are no matter
  verify(graph_);
  graph_.add_constant("weight", weight_->type);
  expect_broken("unique name: two constants are named 'weight'");
  graph_.erase_unused_constants();
  builder_.constant(Tensor::empty(DType::float32, {1}));
  builder_.constant(Tensor::empty(DType::float32, {1}));  // and the nameless are not alike
  graph_.add_state("cache", cache_->type);
  expect_broken("unique name: two states are named 'cache'");
}

TEST_F(VerifierTest, FindsOutputsNamedTwice) {
  graph_.add_output("y", sum_);
  expect_broken("unique name: two outputs are named 'y'");
}

TEST_F(VerifierTest, FindsIdsThatOccurTwice) {
  x_->id = position_->id;
  expect_broken("unique id: ");
}

TEST_F(VerifierTest, FindsConstantDataOfAnotherType) {
  weight_->data = Tensor::empty(DType::float32, {3, 2});
  expect_broken("constant data: %1 'weight' is of type float32(2, 3), its data of float32(3, 2)");
}

TEST_F(VerifierTest, FindsLeavesOfTheWrongKind) {
  x_->kind = ValueKind::state;
  expect_broken("leaf: %0 is among the inputs");
}

TEST_F(VerifierTest, FindsAnInputOverwritten) {
  update(graph_.add_input("not a state", cache_->type));
  expect_broken("mutation: ");
}

TEST_F(VerifierTest, FindsAViewOverwritten) {
  update(builder_("aten.alias", {cache_}));
  expect_broken("mutation: ");
}

TEST_F(VerifierTest, FindsAStateReadAsItWas) {
  update(cache_);
  Value* read = builder_("aten.neg", {cache_});
  expect_broken("linear state: aten.neg reads %2, which state 'cache' no longer holds");
  graph_.erase(read->producer);
  verify(graph_);
  graph_.add_output("old", cache_);
  expect_broken("linear state: output 'old' reads %2");
}

TEST_F(VerifierTest, FindsAViewOfAStateReadAsItWas) {
  Value* view = builder_("aten.select.int", {cache_}, {{"dim", 2}, {"index", 0}});
  Value* first = update(cache_);
  builder_("aten.neg", {view});
  expect_broken("linear state: aten.neg reads %6");
  graph_.set_operand(graph_.nodes().back().get(), 0, first);
  graph_.nodes().back()->results[0]->type = first->type;
  verify(graph_);
  update(first);
  builder_("aten.neg", {first});
  expect_broken("linear state: ");
}

TEST_F(VerifierTest, FindsAStateOverwrittenTwiceAsItWas) {
  update(cache_);
  update(cache_);
  expect_broken("linear state: cache_update reads %2");
}

}  // namespace
}  // namespace ostinato::ir
