#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

namespace {

using ir::Dim;
using ir::Node;
using ir::Shape;
using ir::Value;
using ir::ValueType;

// One integer an image dim; a single one stands for all.
std::vector<int64_t> per_dim(const Node& node, std::string_view name, size_t dims, int64_t least) {
  std::vector<int64_t> values = node.integers(name);
  if (values.size() == 1) values.resize(dims, values[0]);
  bool good = values.size() == dims;
  for (int64_t value : values) good = good && value >= least;
  if (good) return values;
  reject(node, "Give one integer an image dim.", "expected {} integers of at least {} for '{}', {}",
         dims, least, name, fmt::format("got [{}]", fmt::join(values, ", ")));
}

// input (N, C, ...), weight (O, C / groups, ...), or transposed (C, O / groups, ...)
std::vector<ValueType> infer_convolution(const Node& node) {
  const Value *input = node.operand("input"), *weight = node.operand("weight");
  const Shape &x = input->shape(), &w = weight->shape();
  require_same_dtype(node, node.operands);
  require_floating(node, input);
  if (x.size() < 3) {
    reject(node, "Add the batch dim.", "expected at least 3 dims, got {}", to_string(x));
  }
  require_rank(node, weight, x.size());
  const size_t image = x.size() - 2;
  const auto stride = per_dim(node, "stride", image, 1);
  const auto padding = per_dim(node, "padding", image, 0);
  const auto dilation = per_dim(node, "dilation", image, 1);
  const auto output_padding = per_dim(node, "output_padding", image, 0);
  const int64_t groups = node.integer("groups");
  const bool transposed = node.flag("transposed");
  if (groups < 1 || (w[0].is_constant() && w[0].value() % groups != 0)) {
    reject(node, "Give a divisor of the channels.", "cannot divide {} channels into {} groups",
           w[0].str(), groups);
  }
  require_equal(node, "the channels of 'input'", transposed ? w[0] : w[1] * Dim(groups), x[1]);
  Shape shape{x[0], transposed ? w[1] * Dim(groups) : w[0]};
  for (size_t i = 0; i < image; ++i) {
    const Dim &size = x[i + 2], reach = Dim(dilation[i]) * (w[i + 2] - Dim(1));
    const Dim out =
        transposed ? (size - Dim(1)) * Dim(stride[i]) - Dim(2 * padding[i]) + reach +
                         Dim(output_padding[i] + 1)
                   : floor_div(size + Dim(2 * padding[i]) - reach - Dim(1), stride[i]) + Dim(1);
    if (out.is_constant() && out.value() < 1) {
      reject(node, "Give a larger image or more padding.", "cannot fit a kernel {} into {}",
             to_string(w), to_string(x));
    }
    shape.push_back(out);
  }
  if (const Value* bias = node.operand("bias")) {
    require_rank(node, bias, 1);
    require_equal(node, "the length of 'bias'", shape[1], bias->shape()[0]);
  }
  return {{input->dtype(), shape}};
}

}  // namespace

void add_convolution(ir::OpTable& table) {
  using enum ir::AttrKind;
  table.add({.name = "aten.convolution",
             .operands = {{"input"}, {"weight"}, {"bias", ir::OperandKind::optional}},
             .attributes = {{"stride", integers},
                            {"padding", integers},
                            {"dilation", integers},
                            {"transposed", boolean},
                            {"output_padding", integers},
                            {"groups", integer}},
             .infer = infer_convolution});
}

}  // namespace ostinato::ops
