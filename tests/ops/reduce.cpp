#include "ops/calls.h"

namespace ostinato::ops {
namespace {

using ir::Shape;
using ir::Value;

using Reductions = Calls;
using Sorts = Calls;
using Creations = Calls;

TEST_F(Reductions, DropOrKeepTheirDims) {
  Value* x = input({2, s0, 4});
  EXPECT_EQ(shape("aten.sum", {x}), "()");
  EXPECT_EQ(shape("aten.sum.dim_IntList", {x}, {{"dim", Shape{-1, 0}}}), "(s0)");
  EXPECT_EQ(shape("aten.sum.dim_IntList", {x}, {{"dim", Shape{}}}), "()");
  EXPECT_EQ(shape("aten.mean.dim", {x}, {{"dim", Shape{1}}, {"keepdim", true}}), "(2, 1, 4)");
  EXPECT_EQ(shape("aten.any.dims", {x}, {{"dim", Shape{}}}), "(2, s0, 4)");
  EXPECT_EQ(shape("aten.amax", {x}), "()");
  EXPECT_EQ(shape("aten.argmax", {x}, {{"keepdim", true}}), "(1, 1, 1)");
  EXPECT_EQ(shape("aten.prod.dim_int", {input({})}, {{"dim", -1}, {"keepdim", true}}), "()");
  EXPECT_EQ(shape("aten.histc", {x}, {{"bins", 7}}), "(7)");
  const ir::Node* node = call("aten.max.dim", {x}, {{"dim", 1}});
  EXPECT_EQ(to_string(node->results.at(1)->shape()), "(2, 4)");
  EXPECT_EQ(node->results.at(1)->dtype(), DType::int64);
}

TEST_F(Reductions, RejectWhatHasNoValue) {
  Value* empty = input({0, 3});
  expect_rejected("aten.amax", {empty}, {{"dim", Shape{0}}}, "dim 0 to have elements");
  expect_rejected("aten.argmin", {empty}, {}, "dim 0 to have elements");
  EXPECT_EQ(shape("aten.amax", {empty}, {{"dim", Shape{1}}}), "(0)");
  expect_rejected("aten.sum.dim_IntList", {empty}, {{"dim", Shape{2}}}, "got 2");
  expect_rejected("aten.sum.dim_IntList", {empty}, {{"dim", Shape{0, -2}}}, "dim");
  expect_rejected("aten.argmax", {input({2}, DType::boolean)}, {}, "got bool");
  expect_rejected("aten.linalg_vector_norm", {empty},
                  {{"ord", std::numeric_limits<double>::infinity()}}, "to have elements");
  expect_rejected("aten.linalg_vector_norm", {input({2})}, {{"dtype", DType::bfloat16}},
                  "no narrower than float32");
  expect_rejected("aten.histc", {input({2})}, {{"bins", 0}}, "expected bins, got 0");
  expect_rejected("aten.histc", {input({2})}, {{"min", 3}, {"max", 1}}, "got 3 and 1");
  expect_rejected("aten.cumsum", {input({2})}, {{"dim", 1}}, "got 1");
}

TEST_F(Sorts, KeepOrCutTheirDim) {
  Value* x = input({2, s0});
  EXPECT_EQ(shape("aten.sort", {x}), "(2, s0)");
  EXPECT_EQ(shape("aten.topk", {x}, {{"k", s1}}), "(2, s1)");
  EXPECT_EQ(shape("aten.topk", {input({})}, {{"k", 1}}), "()");
  expect_rejected("aten.topk", {x}, {{"k", 3}, {"dim", 0}}, "k in [0, 2], got 3");
  expect_rejected("aten.topk", {input({2}, DType::boolean)}, {{"k", 1}}, "got bool");
}

TEST_F(Creations, CountSymbolicSteps) {
  const auto arange = [this](ir::Attribute start, ir::Attribute end, ir::Attribute step) {
    return shape("aten.arange.start_step", {}, {{"start", start}, {"end", end}, {"step", step}});
  };
  EXPECT_EQ(shape("aten.arange", {}, {{"end", s0}}), "(s0)");
  EXPECT_EQ(arange(s1, s0 + s1, ir::Dim(1)), "(s0)");
  EXPECT_EQ(arange(ir::Dim(0), ir::Dim(7), ir::Dim(2)), "(4)");
  EXPECT_EQ(arange(ir::Dim(5), ir::Dim(0), ir::Dim(-2)), "(3)");
  EXPECT_EQ(arange(0.0, 1.0, 0.25), "(4)");
  const ir::Dim steps =
      call("aten.arange.start_step", {},
           {{"start", 1}, {"end", ir::Attribute(s0)}, {"step", ir::Attribute(ir::Dim(3))}})
          ->results[0]
          ->shape()[0];
  for (const auto& [size, length] : {std::pair(1, 0), {2, 1}, {4, 1}, {5, 2}, {11, 4}}) {
    EXPECT_EQ(steps.evaluate({{"s0", size}}), length) << size;
  }
}

TEST_F(Creations, RejectWhatCannotBe) {
  const auto reject = [this](ir::Attribute end, ir::Attribute step, const std::string& part) {
    expect_rejected("aten.arange.start_step", {}, {{"start", 0}, {"end", end}, {"step", step}},
                    part);
  };
  reject(ir::Dim(5), ir::Dim(0), "a step other than 0");
  reject(ir::Dim(5), ir::Dim(-1), "leads from 0 to 5, got -1");
  reject(std::numeric_limits<double>::infinity(), ir::Dim(1), "a finite length");
  reject(std::numeric_limits<double>::quiet_NaN(), ir::Dim(1), "a finite length");
  expect_rejected("aten.arange", {}, {{"end", 3}, {"dtype", DType::boolean}}, "got bool");
  expect_rejected("aten.zeros", {}, {{"size", Shape{2, -1}}}, "at least 0, got (2, -1)");
  expect_rejected("aten.empty_permuted", {},
                  {{"size", Shape{2, 3}}, {"physical_layout", Shape{0, 0}}}, "an order of 2 dims");
}

}  // namespace
}  // namespace ostinato::ops
