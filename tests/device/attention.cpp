#include <algorithm>

#include "device/kernel_case.h"

namespace ostinato::cpu {
namespace {

using Sizes = std::vector<int64_t>;
using Attributes = std::vector<ir::NamedAttribute>;

struct Shape {
  int64_t batch, heads, kv_heads, queries, keys, depth, value_depth;
};

// Heads of a picture, of a prompt, of one decoded token; sizes that are no multiple of anything; a
// single key; more keys than one block; nothing at all.
constexpr Shape kShapes[] = {
    {1, 3, 3, 197, 197, 64, 64}, {2, 4, 2, 33, 33, 32, 32}, {1, 4, 2, 1, 300, 128, 128},
    {2, 3, 1, 5, 70, 17, 23},    {1, 2, 2, 7, 1, 8, 16},    {1, 1, 1, 300, 600, 16, 80},
    {1, 6, 2, 2, 40, 24, 24},    {1, 8, 1, 1, 65, 40, 16},  {1, 2, 1, 4, 0, 8, 8},
    {1, 2, 1, 0, 4, 8, 8},       {0, 2, 1, 4, 4, 8, 8}};

class AttentionTest : public KernelTest {
 protected:
  Draw draw(Sizes sizes, Storage storage = Storage::contiguous) const {
    return {.dtype = dtype(), .sizes = std::move(sizes), .storage = storage};
  }
  std::vector<std::optional<Draw>> operands(const Shape& s) const {
    return {draw({s.batch, s.heads, s.queries, s.depth}),
            draw({s.batch, s.kv_heads, s.keys, s.depth}),
            draw({s.batch, s.kv_heads, s.keys, s.value_depth})};
  }
  void expect(const Shape& shape, std::optional<Draw> mask, std::optional<Draw> position,
              const Attributes& attributes, std::optional<Draw> sinks = {}) const {
    const bool caps = std::any_of(attributes.begin(), attributes.end(),
                                  [](const auto& given) { return given.name == "softcap"; });
    const bool slow = shape.queries > 100 && (mask || sinks || caps);
    auto all = operands(shape);
    all.push_back(std::move(mask));
    all.push_back(std::move(position));
    all.push_back(std::move(sinks));
    expect_fast_equals_reference({"attention", all, attributes, "matmul", slow});
  }
};

TEST_P(AttentionTest, EveryShape) {
  for (const Shape& shape : kShapes) {
    expect(shape, {}, {}, {});
    expect(shape, {}, {}, {{"scale", 0.7}});
    if (shape.keys == 0) continue;  // the expansion takes a maximum over the keys
    expect(shape, {}, {}, {{"causal", true}});
    expect(shape, {}, {}, {{"causal", true}, {"offset", shape.keys - shape.queries}});
    expect(shape, {}, {}, {{"causal", true}, {"offset", 9}, {"window", 12}});
  }
}

TEST_P(AttentionTest, ReadsThePositionWhenItRuns) {
  for (const Shape& shape : {kShapes[2], kShapes[3], kShapes[6], kShapes[7]}) {
    for (int64_t position : {-3, 0, 17, 39, 1000}) {
      const Draw at{.dtype = DType::int64, .sizes = {}, .low = position, .high = position + 1};
      expect(shape, {}, at, {{"causal", true}});
      expect(shape, {}, at, {{"causal", true}, {"window", 5}});
    }
  }
}

TEST_P(AttentionTest, Masks) {
  for (const Shape& s : {kShapes[1], kShapes[3], kShapes[5], kShapes[7]}) {
    for (const Sizes& sizes : std::vector<Sizes>{{s.batch, s.heads, s.queries, s.keys},
                                                 {s.batch, 1, 1, s.keys},
                                                 {s.queries, s.keys},
                                                 {s.heads, s.queries, 1},
                                                 {}}) {
      for (Storage storage : {Storage::contiguous, Storage::sliced}) {
        expect(s, Draw{.dtype = DType::boolean, .sizes = sizes, .storage = storage}, {}, {});
        expect(s, draw(sizes, storage), {}, {{"causal", true}});
      }
    }
  }
}

TEST_P(AttentionTest, CapsAndSinks) {
  for (const Shape& s : kShapes) {
    if (s.keys == 0) continue;
    const Draw mask{.dtype = DType::boolean, .sizes = {s.queries, s.keys}};
    expect(s, mask, {}, {{"softcap", 0.8}});
    expect(s, {}, {}, {{"softcap", 30.0}, {"scale", 2.0}, {"causal", true}});
    for (Storage storage : {Storage::contiguous, Storage::sliced}) {
      const Draw sinks = draw({s.heads}, storage);
      expect(s, {}, {}, {}, sinks);
      expect(s, mask, {}, {{"softcap", 2.0}, {"causal", true}, {"offset", 3}, {"window", 7}},
             sinks);
    }
  }
}

TEST_P(AttentionTest, ReadsHeadsInPlace) {
  // (B, S, H, D) seen as (B, H, S, D)
  for (const Shape& s : {kShapes[1], kShapes[6]}) {
    auto all = operands(s);
    for (auto& operand : all) operand->storage = Storage::expanded;
    all.resize(6);
    expect_fast_equals_reference({"attention", all, {}, "matmul"});
  }
}

TEST_P(AttentionTest, ScaledDotProductAttention) {
  for (const Shape& shape : kShapes) {
    auto all = operands(shape);
    all.resize(4);
    const bool grouped = shape.heads != shape.kv_heads;
    for (bool causal : {false, true}) {
      if (causal && shape.keys == 0) continue;
      expect_fast_equals_reference({"aten.scaled_dot_product_attention",
                                    all,
                                    {{"is_causal", causal}, {"enable_gqa", grouped}},
                                    "matmul"});
    }
  }
  const std::vector<std::optional<Draw>> flat = {draw({3, 9, 16}), draw({3, 20, 16}),
                                                 draw({3, 20, 24}), draw({3, 1, 20})};
  expect_fast_equals_reference({"aten.scaled_dot_product_attention", flat, {}, "matmul"});
}

OSTINATO_KERNEL_TESTS(AttentionTest);

}  // namespace
}  // namespace ostinato::cpu
