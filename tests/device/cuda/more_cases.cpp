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
    for (const char* activation : {"none", "relu", "gelu", "gelu_tanh", "silu"}) {
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

OSTINATO_KERNEL_TESTS(CudaKernels);

}  // namespace
}  // namespace ostinato::cpu
