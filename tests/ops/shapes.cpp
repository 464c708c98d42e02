#include "ops/calls.h"

namespace ostinato::ops {
namespace {

using ir::NamedAttribute;
using ir::Shape;
using ir::Value;

using Concat = Calls;
using Indexing = Calls;
using Products = Calls;
using Images = Calls;
using Norms = Calls;

TEST_F(Concat, SumsOneDim) {
  EXPECT_EQ(shape("aten.cat", {input({2, s0}), input({2, 3}), input({2, s0})}, {{"dim", -1}}),
            "(2, 2*s0+3)");
  EXPECT_EQ(shape("aten.cat", {input({0}), input({2, 3})}, {{"dim", 1}}), "(2, 3)");
  EXPECT_EQ(shape("aten.stack", {input({2, s0}), input({2, s0})}, {{"dim", -1}}), "(2, s0, 2)");
  EXPECT_EQ(shape("aten.repeat", {input({s0, 2})}, {{"repeats", Shape{3, 2, 1}}}), "(3, 2*s0, 2)");
  EXPECT_EQ(shape("aten.constant_pad_nd", {input({2, s0})}, {{"pad", Shape{1, -2, 0, 3}}}),
            "(5, s0-1)");
  const Value* mixed =
      call("aten.cat", {input({1}, DType::int64), input({1}, DType::bfloat16)})->results[0];
  EXPECT_EQ(mixed->dtype(), DType::bfloat16);
}

TEST_F(Concat, RejectsWhatDoesNotFit) {
  expect_rejected("aten.cat", {}, {}, "expected tensors, got none");
  expect_rejected("aten.cat", {input({2, 3}), input({2, 4})}, {}, "dim 1 of (2, 4) to be 3, got 4");
  expect_rejected("aten.cat", {input({2, 3}), input({2})}, {}, "expected 2 dims, got (2)");
  expect_rejected("aten.cat", {input({}), input({})}, {}, "at least 1 dim");
  expect_rejected("aten.stack", {input({2}), input({3})}, {}, "to be 2, got 3");
  expect_rejected("aten.repeat", {input({2, 3})}, {{"repeats", Shape{2}}}, "at least 2 counts");
  expect_rejected("aten.constant_pad_nd", {input({2})}, {{"pad", Shape{1}}}, "an even number");
  expect_rejected("aten.constant_pad_nd", {input({2})}, {{"pad", Shape{-3, 5}}}, "cannot crop");
  expect_rejected("aten.roll", {input({2})}, {{"shifts", Shape{1, 2}}}, "1 shifts, got 2");
  expect_rejected("aten.tril", {input({2})}, {}, "at least 2 dims");
}

// Strides are counted in bytes, of empty values too.
TEST_F(Calls, RefuseSizesBeyond64Bits) {
  const int64_t half = int64_t{1} << 60;  // in int64, 2^63 bytes
  for (const Shape& size : {Shape{half}, Shape{half, 0}, Shape{half, 16, s0}}) {
    expect_rejected("aten.full", {}, {{"size", size}, {"fill_value", 1}}, "fits in 64 bits");
  }
}

TEST_F(Calls, HaveResults) {
  expect_rejected("aten.unbind.int", {input({0, 2})}, {}, "at least one result");
  expect_rejected("aten.split_with_sizes", {input({0, 2})}, {{"split_sizes", Shape{}}},
                  "at least one result");
}

TEST_F(Indexing, PlacesTheIndexShape) {
  Value* self = input({4, s0, 6, 7});
  const auto i = [this](Shape shape) { return input(std::move(shape), DType::int64); };
  EXPECT_EQ(shape("aten.index.Tensor", {self, i({s1})}), "(s1, s0, 6, 7)");
  EXPECT_EQ(shape("aten.index.Tensor", {self, nullptr, i({2, 3})}), "(4, 2, 3, 6, 7)");
  EXPECT_EQ(shape("aten.index.Tensor", {self, nullptr, i({2, 1}), i({3})}), "(4, 2, 3, 7)");
  EXPECT_EQ(shape("aten.index.Tensor", {self, i({2, 1}), nullptr, i({3})}), "(2, 3, s0, 7)");
  EXPECT_EQ(shape("aten.index_put", {self, i({2}), input({2, s0, 6, 7})}), "(4, s0, 6, 7)");
  EXPECT_EQ(shape("aten.embedding", {input({9, 5}), i({2, s0})}), "(2, s0, 5)");
  EXPECT_EQ(shape("aten.gather", {self, i({1, 2, 3, 4})}, {{"dim", 0}}), "(1, 2, 3, 4)");
  EXPECT_EQ(shape("aten.index_select", {self, i({s1})}, {{"dim", -1}}), "(4, s0, 6, s1)");
}

TEST_F(Indexing, RejectsWhatDoesNotFit) {
  Value* self = input({4, 5});
  const auto i = [this](Shape shape) { return input(std::move(shape), DType::int64); };
  expect_rejected("aten.index.Tensor", {self, input({4}, DType::boolean)}, {},
                  "Use aten.where, or aten.masked_scatter");
  expect_rejected("aten.index.Tensor", {self, nullptr}, {}, "got None only");
  expect_rejected("aten.index.Tensor", {self, i({2}), i({2}), i({2})}, {}, "at most 2 indices");
  expect_rejected("aten.index.Tensor", {self, i({2}), i({3})}, {}, "cannot broadcast");
  expect_rejected("aten.index_put", {self, i({2}), input({3, 5})}, {}, "(3, 5) to (2, 5)");
  expect_rejected("aten.index_put", {self, i({2}), input({2, 5}, DType::float16)}, {}, "one dtype");
  expect_rejected("aten.gather", {self, i({5, 5})}, {{"dim", 1}}, "an index within (4, 5)");
  expect_rejected("aten.gather", {self, input({4, 5})}, {{"dim", 1}}, "got float32");
  expect_rejected("aten.gather", {input({0, 3}), i({})}, {{"dim", 0}}, "expected 2 dims, got ()");
  expect_rejected("aten.scatter.src", {input({2}), i({}), input({0})}, {{"dim", 0}},
                  "an index within (0), got ()");
  expect_rejected("aten.scatter.src", {self, i({2, 3}), input({2, 2})}, {{"dim", 0}}, "(2, 2)");
  expect_rejected("aten.masked_fill.Scalar", {self, i({4, 5})}, {{"value", 1}}, "a bool mask");
  expect_rejected("aten.slice_scatter", {self, input({3, 5})}, {{"end", 2}}, "(2, 5), got (3, 5)");
  expect_rejected("aten.select_scatter", {self, input({4})}, {{"dim", 1}, {"index", 5}}, "[-5, 5)");
}

TEST_F(Products, MultiplyAndBroadcast) {
  EXPECT_EQ(shape("aten.mm", {input({s0, 3}), input({3, 5})}), "(s0, 5)");
  EXPECT_EQ(shape("aten.bmm", {input({s1, s0, 3}), input({s1, 3, s0})}), "(s1, s0, s0)");
  EXPECT_EQ(shape("aten.addmm", {input({5}), input({s0, 3}), input({3, 5})}), "(s0, 5)");
  EXPECT_EQ(shape("aten.matmul", {input({2, 1, s0, 3}), input({4, 3, 5})}), "(2, 4, s0, 5)");
  EXPECT_EQ(shape("aten.matmul", {input({3}), input({3})}), "()");
  EXPECT_EQ(shape("aten.matmul", {input({3}), input({2, 3, 5})}), "(2, 5)");
  EXPECT_EQ(shape("aten.matmul", {input({2, 4, 3}), input({3})}), "(2, 4)");
  EXPECT_EQ(shape("aten.linear", {input({2, s0, 3}), input({5, 3}), nullptr}), "(2, s0, 5)");
  EXPECT_EQ(shape("transformers.grouped_mm_fallback",
                  {input({s0, 3}), input({4, 3, 5}), input({4}, DType::int32)}),
            "(s0, 5)");
  EXPECT_EQ(shape("aten.linalg_solve_triangular", {input({2, 1, 3, 3}), input({s0, 3, 5})},
                  {{"upper", true}}),
            "(2, s0, 3, 5)");
}

TEST_F(Products, RejectWhatDoesNotFit) {
  expect_rejected("aten.mm", {input({2, 3}), input({4, 5})}, {}, "got 3 and 4: (2, 3) by (4, 5)");
  expect_rejected("aten.mm", {input({2, 3}), input({3})}, {}, "expected 2 dims, got (3)");
  expect_rejected("aten.mm", {input({2, 3}), input({3, 4}, DType::bfloat16)}, {},
                  "float32 and bfloat16");
  expect_rejected("aten.mm", {input({2, 3}, DType::int64), input({3, 4}, DType::int64)}, {},
                  "a floating dtype, got int64");
  expect_rejected("aten.bmm", {input({2, 3, 4}), input({3, 4, 5})}, {}, "to be 2, got 3");
  expect_rejected("aten.addmm", {input({4}), input({2, 3}), input({3, 5})}, {}, "cannot broadcast");
  expect_rejected("aten.linear", {input({2, 3}), input({5, 4}), nullptr}, {}, "to be 4, got 3");
  expect_rejected("aten.linear", {input({2, 3}), input({5, 3}), input({4})}, {}, "to be 5, got 4");
  expect_rejected("aten.linalg_solve_triangular", {input({3, 4}), input({3, 5})}, {{"upper", true}},
                  "the columns of 'self' to be 3, got 4");
  expect_rejected("aten.linalg_solve_triangular", {input({3, 3}), input({3, 5})},
                  {{"upper", true}, {"left", false}}, "the columns of 'B' to be 3, got 5");
}

std::vector<NamedAttribute> window(Shape stride, Shape padding, Shape dilation, int64_t groups = 1,
                                   bool transposed = false, Shape output_padding = {0}) {
  return {{"stride", stride}, {"padding", padding},       {"dilation", dilation},
          {"groups", groups}, {"transposed", transposed}, {"output_padding", output_padding}};
}

TEST_F(Images, ConvolveSymbolicSizes) {
  Value* x = input({s0, 4, 224, s1});
  EXPECT_EQ(shape("aten.convolution", {x, input({8, 4, 16, 1}), input({8})},
                  window({16, 1}, {0, 0}, {1, 1})),
            "(s0, 8, 14, s1)");
  EXPECT_EQ(shape("aten.convolution", {x, input({6, 2, 3, 3}), nullptr}, window({2}, {1}, {2}, 2)),
            "(s0, 6, 111, floordiv(s1-3, 2)+1)");
  EXPECT_EQ(shape("aten.convolution", {x, input({4, 3, 2, 2}), nullptr},
                  window({2, 2}, {0, 0}, {1, 1}, 2, true, {0, 1})),
            "(s0, 6, 448, 2*s1+1)");
  EXPECT_EQ(shape("aten.convolution", {input({2, 3, 9}), input({5, 3, 4}), nullptr},
                  window({1}, {0}, {1})),
            "(2, 5, 6)");
}

TEST_F(Images, PoolAndResize) {
  Value* x = input({2, 3, 9, s0});
  EXPECT_EQ(
      shape("aten.max_pool2d_with_indices", {x},
            {{"kernel_size", Shape{3, 1}}, {"padding", Shape{1, 0}}, {"stride", Shape{2, 1}}}),
      "(2, 3, 5, s0)");
  EXPECT_EQ(shape("aten.avg_pool2d", {input({2, 3, 9, 7})},
                  {{"kernel_size", Shape{2, 1}}, {"ceil_mode", true}}),
            "(2, 3, 5, 7)");
  EXPECT_EQ(shape("aten._adaptive_avg_pool2d", {x}, {{"output_size", Shape{1, 1}}}),
            "(2, 3, 1, 1)");
  EXPECT_EQ(shape("aten.upsample_bilinear2d", {x},
                  {{"output_size", Shape{18, 2 * s0}}, {"align_corners", false}}),
            "(2, 3, 18, 2*s0)");
}

TEST_F(Images, RejectWhatDoesNotFit) {
  Value* x = input({2, 4, 9, 9});
  const std::string_view convolution = "aten.convolution";
  const auto plain = window({1, 1}, {0, 0}, {1, 1});
  expect_rejected(convolution, {x, input({8, 3, 3, 3}), nullptr}, plain, "to be 3, got 4");
  expect_rejected(convolution, {x, input({8, 4, 10, 3}), nullptr}, plain, "cannot fit");
  expect_rejected(convolution, {x, input({8, 4, 3, 3}), input({7})}, plain, "to be 8, got 7");
  expect_rejected(convolution, {x, input({8, 4, 3, 3}), nullptr}, window({0, 1}, {0}, {1}),
                  "at least 1 for 'stride'");
  expect_rejected(convolution, {x, input({9, 2, 3, 3}), nullptr}, window({1}, {0}, {1}, 2),
                  "9 channels into 2 groups");
  expect_rejected(convolution, {input({4, 9}), input({8, 4}), nullptr}, plain, "at least 3 dims");
  expect_rejected("aten.avg_pool2d", {x}, {{"kernel_size", Shape{10, 1}}}, "cannot fit");
  expect_rejected("aten.avg_pool2d", {x}, {{"kernel_size", Shape{2, 2}}, {"padding", Shape{2}}},
                  "at most half the kernel, 1, got 2");
  expect_rejected("aten.avg_pool2d", {x}, {{"kernel_size", Shape{2}}, {"divisor_override", 0}},
                  "other than 0");
  expect_rejected("aten._adaptive_avg_pool2d", {input({2, 3})}, {{"output_size", Shape{1, 1}}},
                  "3 or 4 dims");
  expect_rejected("aten.upsample_nearest2d", {x}, {{"output_size", Shape{0, 3}}}, "cannot resize");
}

TEST_F(Norms, GiveTheirMoments) {
  const ir::Node* layer =
      call("aten.native_layer_norm", {input({s0, 3, 8}), input({3, 8}), nullptr},
           {{"normalized_shape", Shape{3, 8}}, {"eps", 1e-5}});
  EXPECT_EQ(to_string(layer->results[2]->shape()), "(s0, 1, 1)");
  const ir::Node* group =
      call("aten.native_group_norm", {input({s0, 6, 4, s1}), input({6}), input({6})},
           {{"N", s0}, {"C", 6}, {"HxW", 4 * s1}, {"group", 3}, {"eps", 1e-5}});
  EXPECT_EQ(to_string(group->results[1]->shape()), "(s0, 3)");
}

TEST_F(Norms, RejectWhatDoesNotFit) {
  expect_rejected("aten.native_layer_norm", {input({2, 8}), nullptr, nullptr},
                  {{"normalized_shape", Shape{7}}, {"eps", 1e-5}}, "to be 8, got 7");
  expect_rejected("aten.native_layer_norm", {input({2, 8}), input({7}), nullptr},
                  {{"normalized_shape", Shape{8}}, {"eps", 1e-5}}, "'weight' to be 8, got 7");
  expect_rejected("aten.native_group_norm", {input({2, 6, 4}), nullptr, nullptr},
                  {{"N", 2}, {"C", 6}, {"HxW", 4}, {"group", 4}, {"eps", 1e-5}}, "into 4 groups");
}

}  // namespace
}  // namespace ostinato::ops
