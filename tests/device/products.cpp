#include "device/kernel_case.h"

namespace ostinato::cpu {
namespace {

using Sizes = std::vector<int64_t>;

class ProductTest : public KernelTest {
 protected:
  Draw draw(Sizes sizes, Storage storage = Storage::contiguous) const {
    return {.dtype = dtype(), .sizes = std::move(sizes), .storage = storage};
  }
  Draw constant(Sizes sizes, Storage storage = Storage::contiguous) const {
    Draw result = draw(std::move(sizes), storage);
    result.constant = true;
    return result;
  }
};

struct Shape {
  int64_t rows, inner, columns;
};

// Tiles and panels that are full, short by one, a single row or column, and empty.
constexpr Shape kShapes[] = {
    {1, 1, 1},    {6, 32, 64},  {7, 33, 65},    {4, 32, 32},  {1, 96, 200}, {3, 65, 128},
    {12, 17, 15}, {13, 8, 130}, {66, 40, 48},   {5, 64, 1},   {1, 7, 1},    {0, 4, 3},
    {3, 0, 5},    {3, 4, 0},    {200, 130, 70}, {2, 300, 16}, {9, 2, 63},   {110, 600, 33}};

TEST_P(ProductTest, EveryShapeAndStorage) {
  for (const Shape& shape : kShapes) {
    for (Storage left : {Storage::contiguous, Storage::permuted, Storage::sliced}) {
      for (Storage right : {Storage::contiguous, Storage::permuted, Storage::sliced}) {
        const Draw a = draw({shape.rows, shape.inner}, left);
        const Sizes sizes{shape.inner, shape.columns};
        expect_fast_equals_reference({"aten.mm", {a, draw(sizes, right)}, {}, "matmul"});
        expect_fast_equals_reference({"aten.mm", {a, constant(sizes, right)}, {}, "matmul"});
      }
    }
  }
}

TEST_P(ProductTest, AddsWhatIsBroadcast) {
  for (const Sizes& sizes : std::vector<Sizes>{{}, {1}, {70}, {13, 1}, {1, 70}, {13, 70}}) {
    for (Storage storage : {Storage::contiguous, Storage::permuted, Storage::sliced}) {
      expect_fast_equals_reference(
          {"aten.addmm", {draw(sizes, storage), draw({13, 20}), constant({20, 70})}, {}, "matmul"});
    }
    expect_fast_equals_reference({"aten.addmm",
                                  {draw(sizes), draw({13, 20}), draw({20, 70})},
                                  {{"beta", -0.5}, {"alpha", 2}},
                                  "matmul"});
  }
  expect_fast_equals_reference(
      {"aten.addmm", {draw({13, 1}), draw({13, 20}), draw({20, 1})}, {{"beta", 3}}, "matmul"});
}

// All rows go to the first matrix, or some, or none: op_cases has groups of every kind.
TEST_P(ProductTest, Groups) {
  for (const int64_t end : {0, 3, 13}) {
    for (const DType index : {DType::int64, DType::int32}) {
      const Draw ends{.dtype = index, .sizes = {3}, .low = end, .high = end + 1};
      for (Storage storage : {Storage::contiguous, Storage::permuted}) {
        for (const Shape& shape : {Shape{13, 33, 65}, Shape{13, 16, 64}, Shape{13, 8, 1}}) {
          expect_fast_equals_reference({"transformers.grouped_mm_fallback",
                                        {draw({shape.rows, shape.inner}),
                                         draw({3, shape.inner, shape.columns}, storage), ends},
                                        {},
                                        "matmul"});
        }
      }
    }
  }
}

TEST_P(ProductTest, Batches) {
  for (const Shape& shape :
       {Shape{7, 33, 65}, Shape{1, 16, 64}, Shape{50, 24, 1}, Shape{3, 9, 2}}) {
    for (Storage left : {Storage::contiguous, Storage::permuted, Storage::expanded}) {
      for (Storage right : {Storage::contiguous, Storage::permuted, Storage::expanded}) {
        const Draw a = draw({5, shape.rows, shape.inner}, left);
        const Draw b = draw({5, shape.inner, shape.columns}, right);
        expect_fast_equals_reference({"aten.bmm", {a, b}, {}, "matmul"});
        for (const Sizes& sizes :
             std::vector<Sizes>{{5, shape.rows, shape.columns}, {shape.columns}, {5, 1, 1}}) {
          expect_fast_equals_reference(
              {"aten.baddbmm", {draw(sizes), a, b}, {{"beta", 2}, {"alpha", 0.25}}, "matmul"});
        }
      }
    }
  }
  expect_fast_equals_reference({"aten.bmm", {draw({0, 2, 3}), draw({0, 3, 4})}, {}, "matmul"});
  expect_fast_equals_reference({"aten.bmm", {draw({2, 2, 3}), constant({2, 3, 4})}, {}, "matmul"});
}

// So long that panels are narrower: in float32 from 2049 on, in bfloat16 from 4097.
TEST_P(ProductTest, LongInnerDims) {
  for (const Shape& shape : {Shape{1, 4100, 70}, Shape{25, 4100, 70}, Shape{9, 2049, 16}}) {
    Draw x = draw({shape.rows, shape.inner});
    x.scale = 0.1;  // for sums of the size that the bounds are made for
    for (const Draw& weight :
         {constant({shape.columns, shape.inner}), draw({shape.columns, shape.inner})}) {
      expect_fast_equals_reference({"aten.linear", {x, weight, {}}, {}, "matmul"});
    }
  }
}

TEST_P(ProductTest, MatmulBroadcastsByNumpysRules) {
  const std::vector<std::pair<Sizes, Sizes>> cases = {{{9}, {9}},
                                                      {{9}, {9, 5}},
                                                      {{5, 9}, {9}},
                                                      {{2, 5, 9}, {9}},
                                                      {{9}, {2, 9, 5}},
                                                      {{2, 3, 5, 9}, {9, 4}},
                                                      {{3, 5, 9}, {2, 1, 9, 4}},
                                                      {{2, 1, 5, 9}, {1, 3, 9, 4}}};
  for (const auto& [a, b] : cases) {
    expect_fast_equals_reference({"aten.matmul", {draw(a), draw(b)}, {}, "matmul"});
    expect_fast_equals_reference({"aten.matmul",
                                  {draw(a, Storage::permuted), constant(b, Storage::permuted)},
                                  {},
                                  "matmul"});
  }
  expect_fast_equals_reference({"aten.dot", {draw({100}), draw({100})}, {}, "matmul"});
  expect_fast_equals_reference({"aten.mv", {draw({30, 100}), draw({100})}, {}, "matmul"});
  expect_fast_equals_reference({"aten.mv", {constant({30, 100}), draw({100})}, {}, "matmul"});
}

TEST_P(ProductTest, Linear) {
  for (const Sizes& input : std::vector<Sizes>{{40}, {1, 40}, {2, 7, 40}, {0, 40}}) {
    Sizes output = input;
    output.back() = 90;
    for (bool is_constant : {false, true}) {
      const Draw weight = is_constant ? constant({90, 40}) : draw({90, 40});
      expect_fast_equals_reference({"aten.linear", {draw(input), weight, {}}, {}, "matmul"});
      expect_fast_equals_reference(
          {"aten.linear", {draw(input), weight, draw({90})}, {}, "matmul"});
    }
    for (std::string_view activation :
         {"none", "relu", "gelu", "gelu_tanh", "quick_gelu", "silu"}) {
      for (const Sizes& residual : {output, Sizes{1, 90}, Sizes{1}}) {
        if (residual.size() > output.size()) continue;
        expect_fast_equals_reference({"linear",
                                      {draw(input), constant({90, 40}), draw({90}), draw(residual)},
                                      {{"activation", std::string(activation)}},
                                      "matmul"});
      }
    }
  }
  // rows of the input, or of the residual, that no single stride goes through
  expect_fast_equals_reference(
      {"linear",
       {draw({3, 5, 40}, Storage::expanded), constant({90, 40}), {}, draw({5, 90})},
       {},
       "matmul"});
}

// As many panels as fit, weights of one column, some packed and some not.
TEST_P(ProductTest, SeveralLinears) {
  for (const Sizes& input : std::vector<Sizes>{{40}, {2, 7, 40}, {70, 33}, {0, 40}}) {
    const int64_t inner = input.back();
    for (bool is_constant : {false, true}) {
      const auto weight = [&](int64_t columns) {
        return is_constant ? constant({columns, inner}) : draw({columns, inner});
      };
      expect_fast_equals_reference(
          {"linears",
           {draw(input), weight(90), draw({90}), weight(64), {}, draw({1, inner}), draw({1})},
           {},
           "matmul"});
    }
  }
}

TEST_P(ProductTest, GatedLinear) {
  for (const Sizes& input : std::vector<Sizes>{{40}, {2, 7, 40}, {200, 33}, {0, 40}}) {
    const int64_t inner = input.back();
    for (std::string_view activation :
         {"none", "relu", "gelu", "gelu_tanh", "quick_gelu", "silu"}) {
      for (const int64_t columns : {64, 90, 1}) {
        const Sizes sizes{columns, inner};
        expect_fast_equals_reference({"gated_linear",
                                      {draw(input), constant(sizes), constant(sizes), {}, {}},
                                      {{"activation", std::string(activation)}},
                                      "matmul"});
      }
    }
    for (Storage storage : {Storage::contiguous, Storage::permuted, Storage::sliced}) {
      expect_fast_equals_reference({"gated_linear",
                                    {draw(input, storage), constant({70, inner}, storage),
                                     draw({70, inner}, storage), draw({70}), draw({70})},
                                    {{"activation", "silu"}},
                                    "matmul"});
    }
  }
}

OSTINATO_KERNEL_TESTS(ProductTest);

}  // namespace
}  // namespace ostinato::cpu
