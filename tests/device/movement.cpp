#include "device/kernel_case.h"

namespace ostinato::cpu {
namespace {

using Names = std::vector<std::string_view>;

constexpr Storage kStorages[] = {Storage::contiguous, Storage::permuted, Storage::sliced,
                                 Storage::expanded};

/// Views that are copied, concatenation, indexing and creation. Nothing is computed, so the three
/// floating dtypes and four others stand for all.
class MovementTest : public KernelTest {};

TEST_P(MovementTest, Views) {
  for (Storage storage : kStorages) {
    for (DType wanted : {dtype(), DType::int64, DType::int32, DType::boolean}) {
      const Draw x{wanted, {4, 6, 35}, storage};
      const auto check = [&](std::string_view op, const std::vector<ir::NamedAttribute>& a) {
        expect_fast_equals_reference({op, {x}, a});
      };
      check("aten.clone", {});
      check("aten.view", {{"size", ir::Shape{24, 35}}});
      check("aten.view", {{"size", ir::Shape{8, 3, 5, 7}}});
      check("aten.permute", {{"dims", ir::Shape{2, 0, 1}}});
      check("aten.permute", {{"dims", ir::Shape{1, 2, 0}}});
      check("aten.transpose.int", {{"dim0", 0}, {"dim1", 2}});
      check("aten.expand", {{"size", ir::Shape{3, 4, 6, 35}}});
      check("aten.unsqueeze", {{"dim", 1}});
      check("aten.slice.Tensor", {{"dim", 2}, {"start", 3}, {"end", 30}, {"step", 4}});
      check("aten.select.int", {{"dim", 1}, {"index", -2}});
      check("aten.split_with_sizes", {{"split_sizes", ir::Shape{10, 5, 20}}, {"dim", 2}});
    }
  }
  // Large enough for several workers and for whole tiles of a transpose.
  const Draw large{dtype(), {3, 197, 130}};
  expect_fast_equals_reference({"aten.permute", {large}, {{"dims", ir::Shape{2, 0, 1}}}});
  expect_fast_equals_reference({"aten.permute", {large}, {{"dims", ir::Shape{0, 2, 1}}}});
  expect_fast_equals_reference({"aten.clone", {Draw{dtype(), {3, 197, 130}, Storage::permuted}}});
}

TEST_P(MovementTest, Concatenation) {
  for (Storage storage : kStorages) {
    const Draw a{dtype(), {2, 3, 19}, storage}, b{dtype(), {2, 3, 19}};
    for (int dim : {0, 1, -1}) {
      expect_fast_equals_reference({"aten.cat", {a, b, a}, {{"dim", dim}}});
      expect_fast_equals_reference({"aten.stack", {a, b}, {{"dim", dim}}});
    }
    expect_fast_equals_reference({"aten.repeat", {a}, {{"repeats", ir::Shape{2, 1, 3, 2}}}});
    expect_fast_equals_reference(  // a dim twice
        {"aten.roll", {a}, {{"shifts", ir::Shape{-3, 1, 1}}, {"dims", ir::Shape{1, 0, -2}}}});
    const int64_t huge = int64_t{1} << 32;  // of nothing
    expect_fast_equals_reference(
        {"aten.repeat", {Draw{dtype(), {0}}}, {{"repeats", ir::Shape{huge, huge}}}});
    for (const ir::Shape& pad :
         {ir::Shape{1, 2}, ir::Shape{-3, 4}, ir::Shape{0, 0, 2, -1}, ir::Shape{2, 1, 1, 1, 3, 0}}) {
      expect_fast_equals_reference({"aten.constant_pad_nd", {a}, {{"pad", pad}, {"value", 1.5}}});
    }
    expect_fast_equals_reference({"aten.flip", {a}, {{"dims", ir::Shape{0, 2}}}});
    expect_fast_equals_reference(
        {"aten.roll", {a}, {{"shifts", ir::Shape{1, -4}}, {"dims", ir::Shape{1, 2}}}});
  }
  expect_fast_equals_reference(
      {"aten.roll", {Draw{dtype(), {2, 3, 19}}}, {{"shifts", ir::Shape{7}}}});
  expect_fast_equals_reference(
      {"aten.cat", {Draw{dtype(), {0, 4}}, Draw{dtype(), {3, 4}}}, {{"dim", 0}}});
}

TEST_P(MovementTest, Indexing) {
  const Draw rows{DType::int64, {4, 3}, {}, 1, 0, 0, 6}, some{DType::int32, {5}, {}, 1, 0, 0, 6};
  const Draw from_end{DType::int64, {4, 3}, {}, 1, 0, -6, 6};
  for (Storage storage : kStorages) {
    const Draw x{dtype(), {6, 6, 21}, storage}, table{dtype(), {6, 21}, storage};
    Draw strided = rows;
    strided.storage = storage;
    expect_fast_equals_reference({"aten.embedding", {table, strided}});
    expect_fast_equals_reference({"aten.index_select", {x, some}, {{"dim", 1}}});
    expect_fast_equals_reference({"aten.index.Tensor", {x, from_end}});
    expect_fast_equals_reference({"aten.index.Tensor", {x, rows, from_end}});
    expect_fast_equals_reference({"aten.index.Tensor", {x, std::nullopt, strided}});
    expect_fast_equals_reference({"aten.index.Tensor", {x, rows, std::nullopt, strided}});
    for (const bool adds : {false, true}) {
      const Draw values{dtype(), {4, 3, 6, 21}, storage};
      // Places that are named twice must get equal values, unless these are added.
      const Draw value{dtype(), {1}};
      expect_fast_equals_reference(
          {"aten.index_put", {x, rows, adds ? values : value}, {{"accumulate", adds}}});
    }
    const Draw names{DType::int64, {6, 4, 20}, storage, 1, 0, 0, 6};
    const Draw src{dtype(), {6, 4, 20}, storage};
    expect_fast_equals_reference({"aten.gather", {x, names}, {{"dim", 1}}});
    expect_fast_equals_reference({"aten.gather", {x, names}, {{"dim", 2}}});
    expect_fast_equals_reference({"aten.scatter.value", {x, names}, {{"dim", 1}, {"value", 2.5}}});
    expect_fast_equals_reference({"aten.scatter.src", {x, names, src}, {{"dim", 1}}});
    expect_fast_equals_reference({"aten.scatter_add", {x, names, src}, {{"dim", 1}}, "reduction"});
    const Draw mask{DType::boolean, {6, 1, 21}, storage};
    expect_fast_equals_reference({"aten.masked_fill.Scalar", {x, mask}, {{"value", -1e4}}});
    expect_fast_equals_reference({"aten.masked_fill.Tensor", {x, mask, Draw{dtype()}}});
    expect_fast_equals_reference({"aten.slice_scatter",
                                  {x, Draw{dtype(), {6, 6, 5}, storage}},
                                  {{"dim", 2}, {"start", 2}, {"end", 16}, {"step", 3}}});
    for (const auto& [step, length] : {std::pair<int64_t, int64_t>{8, 3}, {20, 2}, {21, 1}}) {
      expect_fast_equals_reference({"aten.slice_scatter",
                                    {x, Draw{dtype(), {6, 6, length}, storage}},
                                    {{"dim", 2}, {"start", 0}, {"step", step}}});
    }
    expect_fast_equals_reference({"aten.slice_scatter",
                                  {x, Draw{dtype(), {6, 6, 1}, storage}},
                                  {{"dim", 2}, {"start", 3}, {"step", int64_t{1} << 62}}});
    expect_fast_equals_reference(
        {"aten.select_scatter", {x, Draw{dtype(), {6, 21}, storage}}, {{"dim", 1}, {"index", -2}}});
  }
}

TEST_P(MovementTest, CacheUpdate) {
  const Draw position{DType::int64, {}, {}, 1, 0, 4, 5};
  for (Storage storage : kStorages) {
    for (int64_t rows : {1, 3}) {
      expect_fast_equals_reference(
          {"cache_update",
           {Draw{dtype(), {2, 3, 9, 20}}, Draw{dtype(), {2, 3, rows, 20}, storage}, position}});
    }
  }
}

TEST_P(MovementTest, Creation) {
  const ir::NamedAttribute size{"size", ir::Shape{3, 70}};
  for (DType wanted : {dtype(), DType::int64, DType::int32, DType::uint8, DType::boolean}) {
    const ir::NamedAttribute type{"dtype", wanted};
    expect_fast_equals_reference({"aten.full", {}, {size, {"fill_value", 3}, type}});
    expect_fast_equals_reference({"aten.ones", {}, {size, type}});
    expect_fast_equals_reference({"aten.zeros_like", {Draw{dtype(), {4, 3}}}, {type}});
    expect_fast_equals_reference({"aten.scalar_tensor", {}, {{"s", 1.5}, type}});
    if (wanted == DType::boolean) continue;
    expect_fast_equals_reference({"aten.arange", {}, {{"end", 70}, type}});
    expect_fast_equals_reference(
        {"aten.arange.start_step", {}, {{"start", 3}, {"end", 70}, {"step", 4}, type}});
    expect_fast_equals_reference(
        {"aten.arange.start_step", {}, {{"start", true}, {"end", 70}, {"step", 4}, type}});
  }
}

OSTINATO_KERNEL_TESTS(MovementTest);

}  // namespace
}  // namespace ostinato::cpu
