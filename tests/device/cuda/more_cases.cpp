#include "device/kernel_case.h"

/// Cases of operators that the CPU's tests leave to those in Python.
namespace ostinato::cpu {
namespace {

class CudaKernels : public KernelTest {
 protected:
  Draw x(std::vector<int64_t> sizes, Storage storage = Storage::contiguous) const {
    return {dtype(), std::move(sizes), storage};
  }
  static Draw integers(std::vector<int64_t> sizes) { return {DType::int64, std::move(sizes)}; }
  static Draw booleans(std::vector<int64_t> sizes) { return {DType::boolean, std::move(sizes)}; }
};

constexpr Storage kStorages[] = {Storage::contiguous, Storage::permuted, Storage::sliced,
                                 Storage::expanded};

TEST_P(CudaKernels, WhereTheExtremumIs) {
  for (const Storage storage : kStorages) {
    for (const char* op : {"aten.argmax", "aten.argmin"}) {
      expect_fast_equals_reference({op, {x({3, 37}, storage)}, {{"dim", -1}}});
      expect_fast_equals_reference({op, {x({5, 7}, storage)}, {{"dim", 0}, {"keepdim", true}}});
      expect_fast_equals_reference({op, {x({4, 300}, storage)}});
    }
    expect_fast_equals_reference({"aten.amin", {x({3, 9}, storage)}, {{"dim", ir::Shape{1}}}});
    expect_fast_equals_reference({"aten.min", {x({3, 9}, storage)}});
  }
}

TEST_P(CudaKernels, Truth) {
  for (const char* op : {"aten.any.dims", "aten.all.dims"}) {
    expect_fast_equals_reference({op, {booleans({3, 4, 5})}, {{"dim", ir::Shape{0, 2}}}});
    expect_fast_equals_reference({op, {integers({3, 4})}, {{"dim", ir::Shape{1}}}});
  }
}

/// Lines of one element, of a tile, and of several that are merged; equal elements, whose order is
/// kept; of merged runs no more than is asked for.
TEST_P(CudaKernels, SortsAndScansOfLongLines) {
  for (const Draw& line : {Draw{dtype(), {}}, Draw{dtype(), {1}}, x({2, 2048}), x({3, 5001}),
                           Draw{DType::int64, {2, 4100}}, Draw{DType::uint8, {2, 2500}}}) {
    for (const bool descending : {false, true}) {
      expect_fast_equals_reference({"aten.argsort.stable",
                                    {line},
                                    {{"stable", true}, {"dim", -1}, {"descending", descending}}});
      expect_fast_equals_reference({"aten.sort.stable",
                                    {line},
                                    {{"stable", true}, {"dim", -1}, {"descending", descending}}});
      expect_fast_equals_reference(
          {"aten.topk", {line}, {{"k", 1}, {"dim", -1}, {"largest", descending}}});
    }
    expect_fast_equals_reference({"aten.cumsum", {line}, {{"dim", -1}}, "reduction"});
  }
  for (const int64_t k : {0, 30, 3000}) {
    expect_fast_equals_reference({"aten.topk", {x({5001}, Storage::sliced)}, {{"k", k}}});
  }
  expect_fast_equals_reference(
      {"aten.cumsum", {x({3, 40})}, {{"dim", 0}, {"dtype", DType::int32}}});
  expect_fast_equals_reference({"aten.cumprod", {integers({3, 9})}, {{"dim", -1}}});
}

/// Places that are named many times: by items that a thread goes through, and by more than a block
/// takes at a time.
TEST_P(CudaKernels, WritesToNamedPlaces) {
  for (const int64_t items : {7, 300}) {
    for (const Draw& self : {x({20}), Draw{DType::int64, {20}}, Draw{DType::boolean, {20}}}) {
      Draw source = self;
      source.sizes = {items};
      const Draw names{.dtype = DType::int32, .sizes = {items}, .low = 0, .high = 20};
      const Draw from_end{.dtype = DType::int64, .sizes = {items}, .low = -20, .high = 20};
      expect_fast_equals_reference({"aten.scatter.src", {self, names, source}, {{"dim", 0}}});
      expect_fast_equals_reference({"aten.scatter_add", {self, names, source}, {{"dim", 0}}});
      expect_fast_equals_reference({"aten.index_put", {self, from_end, source}});
      expect_fast_equals_reference(
          {"aten.index_put", {self, from_end, source}, {{"accumulate", true}}});
      expect_fast_equals_reference(
          {"aten.scatter.value", {self, names}, {{"dim", 0}, {"value", 3}}});
    }
  }
  const Draw names{.dtype = DType::int64, .sizes = {3, 9}, .low = 0, .high = 5};
  for (const char* reduce : {"sum", "prod", "mean", "amax", "amin"}) {
    for (const bool include_self : {false, true}) {
      for (const DType type : {dtype(), DType::int64}) {
        const Draw self{type, {4, 5}}, source{type, {3, 9}, Storage::sliced};
        expect_fast_equals_reference(
            {"aten.scatter_reduce.two",
             {self, names, source},
             {{"dim", 1}, {"reduce", reduce}, {"include_self", include_self}}});
      }
    }
  }
  expect_fast_equals_reference(
      {"aten.gather",
       {x({}), Draw{.dtype = DType::int64, .sizes = {}, .low = 0, .high = 1}},
       {{"dim", 0}}});
}

TEST_P(CudaKernels, WritesWhereAMaskIs) {
  for (const Storage storage : kStorages) {
    const Draw source = x({70, 80}, storage);
    expect_fast_equals_reference({"aten.masked_scatter", {x({3, 1}), booleans({3, 41}), source}});
    expect_fast_equals_reference(
        {"aten.masked_scatter", {x({5, 1100}, storage), booleans({5, 1100}), source}});
  }
}

/// Groups that are products of their own, with a bias that each has a part of.
TEST_P(CudaKernels, GroupedConvolutions) {
  for (const int64_t pictures : {1, 2}) {
    for (const bool biased : {false, true}) {
      const std::optional<Draw> bias = biased ? std::optional(x({18})) : std::nullopt;
      expect_fast_equals_reference({"aten.convolution",
                                    {x({pictures, 6, 5, 7}), x({18, 3, 3, 2}), bias},
                                    {{"stride", ir::Shape{1, 2}},
                                     {"padding", ir::Shape{1}},
                                     {"dilation", ir::Shape{1}},
                                     {"transposed", false},
                                     {"output_padding", ir::Shape{0}},
                                     {"groups", 2}},
                                    "matmul"});
    }
  }
}

TEST_P(CudaKernels, Pools) {
  using ir::Shape;
  for (const Storage storage : kStorages) {
    const Draw picture = x({2, 3, 9, 11}, storage);
    for (const bool ceil : {false, true}) {
      expect_fast_equals_reference({"aten.max_pool2d_with_indices",
                                    {picture},
                                    {{"kernel_size", Shape{3, 2}},
                                     {"stride", Shape{2}},
                                     {"padding", Shape{1}},
                                     {"dilation", Shape{1, 2}},
                                     {"ceil_mode", ceil}}});
      for (const bool padded : {false, true}) {
        expect_fast_equals_reference({"aten.avg_pool2d",
                                      {picture},
                                      {{"kernel_size", Shape{3, 4}},
                                       {"stride", Shape{2, 3}},
                                       {"padding", Shape{1, 2}},
                                       {"ceil_mode", ceil},
                                       {"count_include_pad", padded}},
                                      "reduction"});
      }
    }
    expect_fast_equals_reference({"aten.avg_pool2d",
                                  {picture},
                                  {{"kernel_size", Shape{3}}, {"divisor_override", -5}},
                                  "reduction"});
    for (const char* op : {"aten._adaptive_avg_pool2d", "aten.adaptive_avg_pool2d"}) {
      expect_fast_equals_reference({op, {picture}, {{"output_size", Shape{4, 15}}}, "reduction"});
    }
  }
}

TEST_P(CudaKernels, Resizing) {
  const ir::NamedAttribute size{"output_size", ir::Shape{13, 7}};
  for (const Storage storage : kStorages) {
    const Draw picture = x({2, 3, 5, 9}, storage);
    expect_fast_equals_reference({"aten.upsample_nearest2d", {picture}, {size}});
    for (const char* op : {"aten.upsample_bilinear2d", "aten.upsample_bicubic2d"}) {
      for (const bool align : {false, true}) {
        expect_fast_equals_reference({op, {picture}, {size, {"align_corners", align}}, "matmul"});
      }
      expect_fast_equals_reference(
          {op,
           {x({3, 5, 9}, storage)},
           {size, {"align_corners", false}, {"scales_h", 2.7}, {"scales_w", 0.8}},
           "matmul"});
    }
  }
}

TEST_P(CudaKernels, Copies) {
  for (const Storage storage : kStorages) {
    for (const char* op : {"aten.clone", "aten.lift_fresh_copy"}) {
      expect_fast_equals_reference({op, {x({3, 4, 5}, storage)}});
    }
    for (const char* op : {"aten.view", "aten._unsafe_view", "aten.reshape"}) {
      const bool shape = std::string_view(op) == "aten.reshape";
      expect_fast_equals_reference(
          {op, {x({3, 4, 5}, storage)}, {{shape ? "shape" : "size", ir::Shape{5, 12}}}});
    }
    expect_fast_equals_reference({"aten.copy", {x({3, 4}), x({4}, storage)}});
    expect_fast_equals_reference({"aten.copy", {integers({3, 4}), x({3, 4}, storage)}});
  }
}

/// As the planner needs them where a result may share no memory with its operand.
TEST_P(CudaKernels, ViewsAsCopies) {
  using ir::Shape;
  const auto check = [](std::string_view op, const Draw& x,
                        const std::vector<ir::NamedAttribute>& attributes = {}) {
    expect_fast_equals_reference({op, {x}, attributes});
  };
  for (const Storage storage : kStorages) {
    const Draw matrix = x({6, 5}, storage), thin = x({3, 1, 4}, storage);
    check("aten.t", matrix);
    check("aten.alias", matrix);
    check("aten.detach", matrix);
    check("aten.diagonal", x({4, 5, 6}, storage), {{"offset", -1}, {"dim1", 2}, {"dim2", 0}});
    check("aten.unfold", matrix, {{"dimension", 0}, {"size", 3}, {"step", 2}});
    check("aten.as_strided", matrix,
          {{"size", Shape{3, 2}}, {"stride", Shape{1, 7}}, {"storage_offset", 4}});
    check("aten.squeeze", thin);
    check("aten.squeeze.dim", thin, {{"dim", 1}});
    check("aten.squeeze.dims", thin, {{"dim", Shape{1}}});
    check("aten.unbind.int", matrix, {{"dim", 1}});
    check("aten.split.Tensor", matrix, {{"split_size", 4}, {"dim", 0}});
    for (const char* op : {"aten.tril", "aten.triu"}) {
      for (const int64_t diagonal : {-2, 0, 3}) {
        check(op, x({2, 5, 7}, storage), {{"diagonal", diagonal}});
      }
    }
  }
}

TEST_P(CudaKernels, NormsOfGroupsAndBatches) {
  for (const Storage storage : kStorages) {
    const Draw picture = x({2, 6, 3, 5}, storage);
    const Draw positive{dtype(), {6}, {}, 0.1, 1};
    for (const bool plain : {false, true}) {
      const std::optional<Draw> weight = plain ? std::optional<Draw>() : x({6});
      expect_fast_equals_reference({"aten.native_group_norm",
                                    {picture, weight, weight},
                                    {{"N", 2}, {"C", 6}, {"HxW", 15}, {"group", 3}, {"eps", 1e-5}},
                                    "reduction"});
      expect_fast_equals_reference({"aten._native_batch_norm_legit_no_training",
                                    {picture, weight, weight, x({6}), positive},
                                    {{"momentum", 0.1}, {"eps", 1e-5}},
                                    "reduction"});
    }
  }
}

TEST_P(CudaKernels, OtherReductions) {
  for (const Storage storage : kStorages) {
    for (const bool unbiased : {false, true}) {
      expect_fast_equals_reference({"aten.var.dim",
                                    {x({3, 9, 7}, storage)},
                                    {{"dim", ir::Shape{0, 2}}, {"unbiased", unbiased}},
                                    "reduction"});
    }
    for (const char* op : {"aten.max.dim", "aten.min.dim"}) {
      for (const DType type : {dtype(), DType::int64, DType::uint8}) {
        expect_fast_equals_reference({op, {Draw{type, {6, 70}, storage}}, {{"dim", -1}}});
      }
    }
    for (const double limit : {0.0, 1.5}) {
      expect_fast_equals_reference(
          {"aten.histc", {x({9, 70}, storage)}, {{"bins", 7}, {"min", -limit}, {"max", limit}}});
    }
  }
}

TEST_P(CudaKernels, TriangularSystems) {
  for (const bool left : {false, true}) {
    for (const bool upper : {false, true}) {
      for (const bool unit : {false, true}) {
        // Rows whose diagonal outweighs the rest.
        const Draw a{dtype(), {2, 1, 4, 4}, Storage::permuted, 0.1, unit ? 0.0 : 1.0};
        expect_fast_equals_reference({"aten.linalg_solve_triangular",
                                      {a, left ? x({3, 4, 5}) : x({3, 5, 4})},
                                      {{"upper", upper}, {"left", left}, {"unitriangular", unit}},
                                      "matmul"});
      }
    }
  }
}

TEST_P(CudaKernels, Fills) {
  for (const char* op : {"aten.ones_like", "aten.empty_like", "aten.zeros_like"}) {
    expect_fast_equals_reference({op, {x({3, 5})}});
  }
  expect_fast_equals_reference({"aten.full_like", {x({3, 5})}, {{"fill_value", 2.5}}});
  for (const char* op : {"aten.zeros", "aten.empty.memory_format"}) {
    expect_fast_equals_reference({op, {}, {{"size", ir::Shape{3, 5}}, {"dtype", dtype()}}});
  }
  expect_fast_equals_reference(
      {"aten.empty_permuted",
       {},
       {{"size", ir::Shape{3, 5}}, {"physical_layout", ir::Shape{0, 1}}, {"dtype", dtype()}}});
  expect_fast_equals_reference(
      {"aten.arange.start", {}, {{"start", 2}, {"end", 9}, {"dtype", dtype()}}});
}

TEST_P(CudaKernels, Bits) {
  for (const char* op : {"aten.bitwise_or.Scalar", "aten.bitwise_xor.Scalar"}) {
    expect_fast_equals_reference({op, {integers({3, 5})}, {{"other", 6}}});
  }
}

TEST_P(CudaKernels, Limits) {
  expect_fast_equals_reference({"aten.clamp.Tensor", {x({3, 5}), x({5}), x({3, 1})}});
  expect_fast_equals_reference({"aten.clamp.Tensor", {x({3, 5}), std::nullopt, x({3, 1})}});
  expect_fast_equals_reference(
      {"aten.clamp.Tensor", {integers({3, 5}), integers({5}), std::nullopt}});
}

TEST_P(CudaKernels, Means) {
  for (const Storage storage : kStorages) {
    KernelCase mean{"aten.mean.dim", {x({3, 4, 40}, storage)}, {{"dim", ir::Shape{0, 2}}}};
    mean.kind = "reduction";
    expect_fast_equals_reference(mean);
  }
}

TEST_P(CudaKernels, ProductsOfFewAndManyRows) {
  for (const int64_t rows : {1, 2, 4, 5, 70}) {
    for (const char* activation : {"none", "relu", "gelu", "gelu_tanh", "quick_gelu", "silu"}) {
      KernelCase linear{"linear",
                        {x({1, rows, 48}), x({24, 48}), x({24}), x({1, rows, 24})},
                        {{"activation", activation}}};
      linear.kind = "matmul";
      expect_fast_equals_reference(linear);
      linear.operands[3] = std::nullopt;
      expect_fast_equals_reference(linear);
      linear.operands[2] = std::nullopt;
      expect_fast_equals_reference(linear);
    }
  }
  KernelCase vector{"aten.mv", {x({9, 20}), x({20})}};
  vector.kind = "matmul";
  expect_fast_equals_reference(vector);
}

/// In one launch, as launches after each other, and where a block has no room for the norm. In
/// float32 only: in other dtypes norms are rounded, which the oracle does not do.
TEST_P(CudaKernels, ProductsOfNorms) {
  if (dtype() != DType::float32) return;
  const Draw gain{dtype(), {48}, {}, 0.3, 1}, bias = x({24});
  for (const Storage storage : {Storage::contiguous, Storage::sliced}) {
    for (const int64_t rows : {1, 3, 4, 6}) {
      const Draw input = x({1, rows, 48}, storage);
      for (const std::optional<Draw>& weight : {std::optional(gain), std::optional<Draw>()}) {
        expect_fast_equals_reference(
            {"norm_linears",
             {input, weight, x({24, 48}), bias, x({7, 48}), {}, x({16, 48}), {}},
             {{"eps", 1e-6}},
             "matmul"});
        expect_fast_equals_reference({"norm_gated_linear",
                                      {input, weight, x({24, 48}), x({24, 48}), {}, bias},
                                      {{"activation", "silu"}, {"eps", 1e-6}},
                                      "matmul"});
      }
    }
  }
  expect_fast_equals_reference(
      {"norm_linears", {x({4, 1200}), {}, x({3, 1200}), {}}, {{"eps", 1e-6}}, "matmul"});
}

/// Deep enough for several warps to a column, and more weights than one launch takes.
TEST_P(CudaKernels, ProductsOfFewRowsSplitTheirDepth) {
  expect_fast_equals_reference({"linear",
                                {x({2, 2048}), x({5, 2048}), x({5}), x({2, 5})},
                                {{"activation", "silu"}},
                                "matmul"});
  const Draw weight = x({3, 48});
  expect_fast_equals_reference(
      {"linears",
       {x({2, 48}), weight, {}, weight, {}, weight, {}, weight, {}, weight, {}},
       {},
       "matmul"});
}

/// Few queries of many keys, which are parted and joined in one launch, by tickets that the next
/// launch finds as it needs them.
TEST_P(CudaKernels, AttentionInParts) {
  for (const int64_t keys : {33, 70}) {
    const Draw query = x({1, 2, 1, 16}), key = x({1, 1, keys, 16}), value = x({1, 1, keys, 8});
    const Draw position{.dtype = DType::int64, .low = keys - 4, .high = keys - 3};
    const std::optional<Draw> mask = x({1, 2, 1, keys}), sinks = x({2});
    for (int repeat = 0; repeat < 2; ++repeat) {
      expect_fast_equals_reference({"attention", {query, key, value, {}, {}, {}}, {}, "matmul"});
      expect_fast_equals_reference(
          {"attention",
           {query, key, value, mask, position, sinks},
           {{"causal", true}, {"window", 20}, {"softcap", 2.0}, {"scale", 0.3}},
           "matmul"});
    }
  }
}

/// Blocks of queries, on tensor cores and not: more queries and keys than one tile has, heads that
/// fill none and that fill several, and every way in which a query may not attend a key.
TEST_P(CudaKernels, AttentionInTiles) {
  for (const auto& [queries, keys, depth] : std::vector<std::tuple<int64_t, int64_t, int64_t>>{
           {17, 20, 12}, {70, 150, 8}, {16, 9, 72}, {16, 9, 130}}) {
    for (const Storage storage : {Storage::contiguous, Storage::sliced}) {
      const Draw query = x({1, 2, queries, depth}, storage), key = x({1, 1, keys, depth}, storage);
      const Draw value = x({1, 1, keys, 6}, storage), mask = x({keys});
      const Draw allowed{DType::boolean, {1, 2, queries, keys}}, sinks = x({2});
      const Draw position{.dtype = DType::int64, .low = 3, .high = 4};
      expect_fast_equals_reference({"attention", {query, key, value, {}, {}, {}}, {}, "matmul"});
      expect_fast_equals_reference({"attention",
                                    {query, key, value, mask, position, sinks},
                                    {{"causal", true}, {"window", 7}, {"softcap", 3.0}},
                                    "matmul"});
      expect_fast_equals_reference({"attention",
                                    {query, key, value, allowed, {}, {}},
                                    {{"causal", true}, {"offset", -2}, {"scale", 0.5}},
                                    "matmul"});
    }
  }
}

TEST_P(CudaKernels, AttentionInTilesOfWideValues) {
  for (const int64_t width : {70, 200}) {
    expect_fast_equals_reference(
        {"attention",
         {x({1, 1, 17, 8}), x({1, 1, 9, 8}), x({1, 1, 9, width}), {}, {}, {}},
         {{"causal", true}, {"offset", -8}},
         "matmul"});
  }
}

TEST_P(CudaKernels, ConnectedCalls) {
  expect_fast_equals_reference(
      {"fused_elementwise",
       {x({3, 5}), integers({3, 1}), booleans({5})},
       {{"program",
         "%3 = aten._to_copy(%1) {dtype=float32}; %4 = aten.mul.Tensor(%0, %3); "
         "%5 = aten.where.self(%2, %4, %0); %6 = aten.clamp(%5) {min=-1, max=2.5}; "
         "%7 = aten.add.Tensor(%6, %0) {alpha=2}; %8 = aten.gt.Scalar(%7) {other=0.25}"}}});
  expect_fast_equals_reference(
      {"fused_elementwise",
       {integers({4, 3})},
       {{"program",
         "%1 = aten.mul.Scalar(%0) {other=3}; %2 = aten.bitwise_and.Scalar(%1) {other=6}; "
         "%3 = aten._to_copy(%2) {dtype=uint8}"}}});
}

OSTINATO_KERNEL_TESTS(CudaKernels);

}  // namespace
}  // namespace ostinato::cpu
