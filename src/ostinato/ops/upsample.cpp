#include "ostinato/ops/image.h"
#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

using ir::Dim;
using ir::Node;
using ir::Shape;
using ir::ValueType;

const Shape& image_shape_of(const Node& node) {
  const Shape& shape = node.operands[0]->shape();
  if (shape.size() == 3 || shape.size() == 4) return shape;
  reject(node, "Give an image (C, H, W) or a batch of them.", "expected 3 or 4 dims, got {}",
         to_string(shape));
}

std::vector<ValueType> infer_resized_image(const Node& node) {
  require_floating(node, node.operands[0]);
  Shape shape = image_shape_of(node);
  const Shape& size = node.dims("output_size");
  if (size.size() != 2) {
    reject(node, "Give height and width.", "expected 2 sizes, got {}", to_string(size));
  }
  for (size_t i = 0; i < 2; ++i) {
    if (size[i].is_constant() && size[i].value() < 1) {
      reject(node, "Give sizes of at least 1.", "cannot resize to {}", to_string(size));
    }
    Dim& side = shape[shape.size() - 2 + i];
    if (side.is(0)) {
      reject(node, "Give an image that has pixels.", "cannot resize {} to {}", to_string(shape),
             to_string(size));
    }
    side = size[i];
  }
  return {{node.operands[0]->dtype(), shape}};
}

void add_upsample(ir::OpTable& table) {
  using enum ir::AttrKind;
  const ir::AttrSpec output_size{"output_size", integers},
      scales_h{"scales_h", real, ir::Attribute{}}, scales_w{"scales_w", real, ir::Attribute{}};
  for (const std::string_view name : {"aten.upsample_bilinear2d", "aten.upsample_bicubic2d"}) {
    table.add({.name = name,
               .operands = {{"self"}},
               .attributes = {output_size, {"align_corners", boolean}, scales_h, scales_w},
               .infer = infer_resized_image});
  }
  table.add({.name = "aten.upsample_nearest2d",
             .operands = {{"self"}},
             .attributes = {output_size, scales_h, scales_w},
             .infer = infer_resized_image});
}

}  // namespace ostinato::ops
