#include <cmath>

#include "device/kernel_case.h"

namespace ostinato::cpu {
namespace {

using Names = std::vector<std::string_view>;
using Shapes = std::vector<std::vector<int64_t>>;

constexpr Storage kStorages[] = {Storage::contiguous, Storage::permuted, Storage::sliced,
                                 Storage::expanded};

/// Softmax, normalisations, reductions and other operators that work along dims.
class RowTest : public KernelTest {
 protected:
  void check(const KernelCase& test) {
    KernelCase reduction = test;
    reduction.kind = "reduction";
    expect_fast_equals_reference(reduction);
  }
};

TEST_P(RowTest, Softmax) {
  for (std::string_view op : Names{"aten._softmax", "aten._log_softmax"}) {
    for (const auto& sizes :
         Shapes{{}, {0}, {1}, {7}, {64}, {3, 197}, {12, 40, 197}, {2, 0}, {0, 3}}) {
      check({op, {Draw{dtype(), sizes, {}, 4}}, {{"dim", -1}}});
    }
    for (Storage storage : kStorages) {
      for (int dim : {0, 1, 2}) {
        const Draw x{dtype(), {4, 5, 33}, storage, 4};
        check({op, {x}, {{"dim", dim}}});
        if (dtype() == DType::float32) continue;
        check({op, {x}, {{"dim", dim}, {"half_to_float", true}}});
      }
    }
  }
}

TEST_P(RowTest, LayerNorm) {
  for (const auto& sizes : Shapes{{1}, {4, 32}, {3, 5, 67}, {0, 8}, {50, 768}, {7, 300, 19}}) {
    const Draw x{dtype(), sizes, {}, 2, 1}, weight{dtype(), {sizes.back()}, {}, 0.5, 1};
    for (const bool biased : {false, true}) {
      const std::optional<Draw> bias = biased ? std::optional(weight) : std::nullopt;
      check({"layer_norm", {x, weight, bias}, {{"eps", 1e-5}}});
      check({"layer_norm", {x, std::nullopt, bias}, {{"eps", 1e-5}}});
      if (dtype() == DType::float32)
        check({"add_layer_norm", {x, x, weight, bias}, {{"eps", 1e-5}}});
      check({"aten.native_layer_norm",
             {x, weight, bias},
             {{"normalized_shape", ir::Shape{sizes.back()}}, {"eps", 1e-5}}});
    }
  }
  for (Storage storage : kStorages) {
    const Draw x{dtype(), {4, 6, 35}, storage, 2}, weight{dtype(), {35}};
    check({"layer_norm", {x, weight, weight}, {{"eps", 1e-5}}});
  }
  check({"aten.native_layer_norm",
         {Draw{dtype(), {3, 4, 5}}, Draw{dtype(), {4, 5}}, Draw{dtype(), {4, 5}}},
         {{"normalized_shape", ir::Shape{4, 5}}, {"eps", 1e-5}}});
}

TEST_P(RowTest, RmsNorm) {
  for (const auto& sizes : Shapes{{1}, {4, 32}, {3, 5, 67}, {0, 8}, {50, 1024}}) {
    for (Storage storage : kStorages) {
      const Draw x{dtype(), sizes, storage, 2}, residual{dtype(), sizes, storage};
      const Draw weight{dtype(), {sizes.back()}, {}, 0.3, 1};
      check({"rms_norm", {x, weight}, {{"eps", 1e-6}}});
      check({"rms_norm", {x, std::nullopt}, {{"eps", 1e-6}}});
      if (dtype() == DType::float32)
        check({"add_rms_norm", {x, residual, weight}, {{"eps", 1e-6}}});
    }
  }
}

TEST_P(RowTest, Rotary) {
  for (const bool interleaved : {false, true}) {
    for (Storage storage : {Storage::contiguous, Storage::expanded}) {
      for (int64_t rotated : {2, 20, 64, 70}) {
        const Draw x{dtype(), {2, 3, 5, 70}, storage}, table{dtype(), {1, 1, 5, rotated}, {}, 0.6};
        check({"rotary", {x, table, table}, {{"interleaved", interleaved}}});
        const Draw wide{DType::float32, {1, 1, 5, rotated}, {}, 0.6};
        check({"rotary", {x, wide, wide}, {{"interleaved", interleaved}, {"dtype", dtype()}}});
      }
    }
  }
}

TEST_P(RowTest, RotaryPair) {
  const ir::NamedAttribute eps{"eps", 1e-6};
  // A norm is rounded before it is turned, by which what is left of a difference may be far off.
  const auto expect_close = [](KernelCase test) {
    test.kind = "matmul";
    expect_fast_equals_reference(test);
  };
  for (Storage storage : {Storage::contiguous, Storage::expanded}) {
    for (int64_t rotated : {20, 36}) {
      const Draw query{dtype(), {2, 6, 5, 36}, storage}, key{dtype(), {2, 2, 5, 36}, storage};
      const Draw table{dtype(), {2, 1, 5, rotated}, {}, 0.6}, weight{dtype(), {36}, {}, 0.3, 1};
      expect_close({"rotary_pair", {query, key, table, table, {}, {}}, {{"interleaved", true}}});
      expect_close({"rotary_pair", {query, key, table, table, weight, weight}, {eps}});
      expect_close({"rotary_pair", {query, key, table, table, {}, weight}, {eps}});
      const Draw wide{DType::float32, {2, 1, 5, rotated}, {}, 0.6};
      expect_close({"rotary_pair", {query, key, wide, wide, weight, weight}, {eps}});
      const Draw keys{dtype(), {2, 2, 9, 36}}, values{dtype(), {2, 2, 9, 30}};
      const Draw value{dtype(), {2, 2, 5, 30}, storage};
      for (const int64_t position : {0, 4}) {
        const Draw at{.dtype = DType::int64, .low = position, .high = position + 1};
        expect_close({"rotary_cache",
                      {query, keys, key, values, value, at, table, table, weight, weight},
                      {eps}});
      }
    }
  }
  const Draw nobody{dtype(), {1, 2, 0, 8}}, table{dtype(), {0, 8}};
  expect_close({"rotary_pair", {nobody, nobody, table, table, {}, {}}});
}

TEST_P(RowTest, Sums) {
  for (std::string_view op : Names{"aten.sum.dim_IntList", "aten.mean.dim", "aten.amax",
                                   "aten.amin", "aten.linalg_vector_norm", "aten.var.correction",
                                   "aten.std.correction", "aten.var_mean.correction"}) {
    for (Storage storage : kStorages) {
      const Draw x{dtype(), {6, 7, 37}, storage};
      for (const ir::Shape& dims :
           {ir::Shape{-1}, ir::Shape{0}, ir::Shape{1}, ir::Shape{0, 2}, ir::Shape{0, 1, 2}}) {
        check({op, {x}, {{"dim", dims}}});
        check({op, {x}, {{"dim", dims}, {"keepdim", true}}});
      }
    }
    check({op, {Draw{dtype(), {300, 513}}}, {{"dim", ir::Shape{0}}}});
    check({op, {Draw{dtype(), {300, 513}}}, {{"dim", ir::Shape{1}}}});
  }
  for (std::string_view op : Names{"aten.sum", "aten.mean", "aten.max", "aten.min", "aten.prod"}) {
    for (const auto& sizes : Shapes{{}, {1}, {67}, {3, 41}}) {
      check({op, {Draw{dtype(), sizes}}});
    }
  }
  check({"aten.sum", {Draw{dtype(), {0, 3}}}});
  check({"aten.prod.dim_int", {Draw{dtype(), {5, 9}, {}, 0.3, 1}}, {{"dim", 0}}});
  for (double order : std::vector<double>{0, 1, 3, INFINITY, -INFINITY}) {
    check({"aten.linalg_vector_norm",
           {Draw{dtype(), {5, 37}}},
           {{"ord", order}, {"dim", ir::Shape{1}}}});
  }
}

TEST_P(RowTest, Integers) {
  for (DType integers : {DType::int64, DType::int32, DType::uint8, DType::boolean}) {
    for (Storage storage : kStorages) {
      const Draw x{integers, {4, 5, 23}, storage, 1, 0, 0, 5};
      for (int dim : {0, 1, 2}) {
        check({"aten.sum.dim_IntList", {x}, {{"dim", ir::Shape{dim}}}});
        check({"aten.any.dim", {x}, {{"dim", dim}}});
        check({"aten.all.dim", {x}, {{"dim", dim}}});
        check({"aten.cumsum", {x}, {{"dim", dim}}});
        check({"aten.amax", {x}, {{"dim", ir::Shape{dim}}}});
      }
      check({"aten.any", {x}});
      check({"aten.all", {x}});
      check({"aten.prod", {x}});
      check({"aten.sum.dim_IntList", {x}, {{"dim", ir::Shape{1}}, {"dtype", DType::float32}}});
    }
  }
  check({"aten.any.dim", {Draw{dtype(), {4, 5}}}, {{"dim", 1}}});
}

TEST_P(RowTest, Extrema) {
  for (Storage storage : kStorages) {
    for (DType wanted : {dtype(), DType::int64}) {
      const Draw x{wanted, {4, 5, 2050}, storage, 1, 0, -90, 90};
      for (int dim : {0, 1, 2}) {
        for (std::string_view op :
             Names{"aten.argmax", "aten.argmin", "aten.max.dim", "aten.min.dim"}) {
          check({op, {x}, {{"dim", dim}}});
        }
      }
      check({"aten.argmax", {x}});
    }
  }
}

TEST_P(RowTest, ScansAndSorts) {
  for (Storage storage : kStorages) {
    for (DType wanted : {dtype(), DType::int64}) {
      const Draw x{wanted, {4, 5, 33}, storage, 1, 0, -9, 9};
      for (int dim : {0, 1, 2}) {
        check({"aten.cumsum", {x}, {{"dim", dim}}});
        check({"aten.sort", {x}, {{"dim", dim}}});
        check({"aten.argsort", {x}, {{"dim", dim}, {"descending", true}}});
        check({"aten.topk", {x}, {{"k", 3}, {"dim", dim}}});
        check({"aten.topk", {x}, {{"k", 2}, {"dim", dim}, {"largest", false}}});
      }
    }
    check({"aten.cumprod", {Draw{dtype(), {4, 9}, storage, 0.2, 1}}, {{"dim", 1}}});
  }
}

OSTINATO_KERNEL_TESTS(RowTest);

}  // namespace
}  // namespace ostinato::cpu
