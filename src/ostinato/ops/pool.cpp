#include "ostinato/ops/image.h"
#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

namespace {

using ir::Dim;
using ir::Node;
using ir::Shape;
using ir::ValueType;

struct Pair {
  int64_t height, width;
};

// Two integers, or one for both; an empty list stands for `fallback`.
Pair pair_of(const Node& node, std::string_view name, int64_t least,
             const Pair* fallback = nullptr) {
  const std::vector<int64_t> values = node.integers(name);
  if (values.empty() && fallback != nullptr) return *fallback;
  if (values.empty() || values.size() > 2 || values[0] < least || values.back() < least) {
    reject(node, "Give one integer for each of height and width.",
           "expected 2 integers of at least {} for '{}', got [{}]", least, name,
           fmt::join(values, ", "));
  }
  return {values[0], values.back()};
}

// How many windows fit; with `ceil_mode` the last may hang over the end, but not begin past it.
Dim pooled(const Node& node, const Dim& size, int64_t kernel, int64_t stride, int64_t padding,
           int64_t dilation) {
  const bool ceil_mode = node.flag("ceil_mode");
  if (padding > kernel / 2) {
    reject(node, "Pad less.", "expected a padding of at most half the kernel, {}, got {}",
           kernel / 2, padding);
  }
  const int64_t reach = dilation * (kernel - 1) + 1;
  Dim count =
      floor_div(size + Dim(2 * padding - reach + (ceil_mode ? stride - 1 : 0)), stride) + Dim(1);
  if (ceil_mode) {
    const Dim past_end = (count - Dim(1)) * Dim(stride) - size - Dim(padding);
    count = count - min(max(past_end + Dim(1), 0), 1);
  }
  if (count.is_constant() && count.value() < 1) {
    reject(node, "Give a larger image.", "cannot fit a window of {} into {}", reach, size.str());
  }
  return count;
}

Shape pooled_shape(const Node& node, const Pair& dilation) {
  Shape shape = image_shape_of(node);
  const size_t rank = shape.size();
  const Pair kernel = pair_of(node, "kernel_size", 1);
  const Pair stride = pair_of(node, "stride", 1, &kernel);
  const Pair padding = pair_of(node, "padding", 0);
  shape[rank - 2] =
      pooled(node, shape[rank - 2], kernel.height, stride.height, padding.height, dilation.height);
  shape[rank - 1] =
      pooled(node, shape[rank - 1], kernel.width, stride.width, padding.width, dilation.width);
  return shape;
}

std::vector<ValueType> infer_max_pool(const Node& node) {
  const Shape shape = pooled_shape(node, pair_of(node, "dilation", 1));
  return {{node.operands[0]->dtype(), shape}, {DType::int64, shape}};
}

std::vector<ValueType> infer_avg_pool(const Node& node) {
  require_floating(node, node.operands[0]);
  if (node.has("divisor_override") && node.integer("divisor_override") == 0) {
    reject(node, "Leave it out.", "expected a 'divisor_override' other than 0, got 0");
  }
  return {{node.operands[0]->dtype(), pooled_shape(node, {1, 1})}};
}

}  // namespace

void add_pool(ir::OpTable& table) {
  using enum ir::AttrKind;
  const ir::AttrSpec kernel_size{"kernel_size", integers}, stride{"stride", integers, Shape{}},
      padding{"padding", integers, Shape{0}}, ceil_mode{"ceil_mode", boolean, false};
  table.add(
      {.name = "aten.max_pool2d_with_indices",
       .operands = {{"self"}},
       .attributes = {kernel_size, stride, padding, {"dilation", integers, Shape{1}}, ceil_mode},
       .results = 2,
       .infer = infer_max_pool});
  table.add({.name = "aten.avg_pool2d",
             .operands = {{"self"}},
             .attributes = {kernel_size,
                            stride,
                            padding,
                            ceil_mode,
                            {"count_include_pad", boolean, true},
                            {"divisor_override", integer, ir::Attribute{}}},
             .infer = infer_avg_pool});
  for (const std::string_view name : {"aten._adaptive_avg_pool2d", "aten.adaptive_avg_pool2d"}) {
    table.add({.name = name,
               .operands = {{"self"}},
               .attributes = {{"output_size", integers}},
               .infer = infer_resized_image});
  }
}

}  // namespace ostinato::ops
