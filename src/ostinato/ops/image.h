#pragma once

#include "ostinato/ir/graph.h"

/// What the operators on images share: (C, H, W), or a batch of them.
namespace ostinato::ops {

/// The shape of the first operand; throws `invalid_argument` unless it is an image's.
const ir::Shape& image_shape_of(const ir::Node& node);

/// The rule of operators whose attribute `output_size` gives the height and width of the result.
std::vector<ir::ValueType> infer_resized_image(const ir::Node& node);

}  // namespace ostinato::ops
