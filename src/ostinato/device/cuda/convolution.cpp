#include "ostinato/device/cuda/kernels/convolution.h"

#include <algorithm>

#include "ostinato/device/cuda/factories.h"
#include "ostinato/device/cuda/launches.h"
#include "ostinato/device/cuda/product.h"

/// Convolutions: as products where these have rows enough, else element by element.
namespace ostinato::cuda {

using device::Request;
using device::TensorDesc;

namespace {

using Dims = std::vector<int64_t>;

/// What all ways need to know: one number for each dim of the picture.
struct Shape {
  Dims stride, padding, dilation;
  int64_t groups;
  bool transposed;
};

Shape shape_of(const Request& request) {
  const size_t dims = request.inputs[0]->sizes().size() - 2;
  const auto each = [&](std::string_view name) {
    Dims values = request.node->integers(name);
    if (values.size() == 1) values.resize(dims, values[0]);
    return values;
  };
  return {each("stride"), each("padding"), each("dilation"), request.node->integer("groups"),
          request.node->flag("transposed")};
}

/// With a dim of one before the others.
Dims widened(Dims values, int64_t first) {
  values.insert(values.begin(), first);
  return values;
}

/// A signal as a picture of one row.
TensorDesc as_picture(const TensorDesc& tensor) {
  if (tensor.sizes().size() != 3) return tensor;
  TensorDesc picture = tensor;
  picture.layout.sizes.insert(picture.layout.sizes.begin() + 2, 1);
  picture.layout.strides.insert(picture.layout.strides.begin() + 2, 0);
  return picture;
}

/// Patches of the picture as rows, times the kernels: y(n, c, place) = weight(c, ·) · patch(place),
/// of each group.
std::unique_ptr<Kernel> as_product(const Request& request, Functions& functions, Shape shape) {
  const TensorDesc x = as_picture(*request.inputs[0]), y = as_picture(request.outputs[0]);
  const TensorDesc weight = as_picture(*request.inputs[1]);
  if (request.inputs[0]->sizes().size() == 3) {
    shape.stride = widened(shape.stride, 1);
    shape.padding = widened(shape.padding, 0);
    shape.dilation = widened(shape.dilation, 1);
  }
  const auto small = [](int64_t value) { return static_cast<int32_t>(value); };
  PatchesParams patches{};
  std::copy(x.strides().begin(), x.strides().end(), patches.x_strides);
  patches.channels = small(x.sizes()[1]);
  patches.height = small(x.sizes()[2]);
  patches.width = small(x.sizes()[3]);
  patches.kernel_height = small(weight.sizes()[2]);
  patches.kernel_width = small(weight.sizes()[3]);
  patches.out_height = small(y.sizes()[2]);
  patches.out_width = small(y.sizes()[3]);
  patches.stride_y = small(shape.stride[0]);
  patches.stride_x = small(shape.stride[1]);
  patches.padding_y = small(shape.padding[0]);
  patches.padding_x = small(shape.padding[1]);
  patches.dilation_y = small(shape.dilation[0]);
  patches.dilation_x = small(shape.dilation[1]);
  patches.type = type_of(x.dtype);
  const int64_t places = y.sizes()[2] * y.sizes()[3], pictures = y.sizes()[0];
  const int64_t groups = shape.groups, rows = y.sizes()[1] / groups;
  const int64_t depth = weight.numel() / weight.sizes()[0], all = depth * groups;
  patches.count = pictures * places * all;
  // A matrix to each group of a picture; the kernels are rows, so that y's places lie side by side.
  const TensorDesc left = part(weight.dtype, {1, groups, rows, depth}, {0, rows * depth, depth, 1});
  const TensorDesc right =
      part(x.dtype, {pictures, groups, depth, places}, {places * all, depth, 1, all});
  auto product = product_of(left, 1, right, 0, y, false);
  if (!product) return nullptr;
  ProductParams& params = product->params;
  product->operands[1] = scratch();
  if (request.inputs[2]) {
    const int64_t stride = request.inputs[2]->strides()[0];
    const Type type = type_of(request.inputs[2]->dtype);
    product->operands[groups == 1 ? 2 : 3] = input(2);
    params.bias = params.added = type;
    params.bias_row = params.added_row = stride;
    if (groups > 1) {  // of a bias all matrices have the same
      const auto walk = walk_of({pictures, groups},
                                {{0, rows * depth}, {places * all, depth}, {0, rows * stride}});
      if (!walk) return nullptr;
      params.batch = *walk;
    }
  }
  const size_t patch_bytes = static_cast<size_t>(patches.count) * size_of(x.dtype);
  constexpr size_t kAlignment = 256;
  auto kernel = launch_product(functions, *request.packed, *product, left, right,
                               (patch_bytes + kAlignment - 1) / kAlignment * kAlignment);
  if (kernel == nullptr) return nullptr;
  Launch gather =
      over_elements(functions, "patches", patches.count, {input(0), scratch()}, patches);
  kernel->work.insert(kernel->work.begin(), {std::move(gather), nullptr});
  return kernel;
}

std::unique_ptr<Kernel> by_element(const Request& request, Functions& functions,
                                   const Shape& shape) {
  const TensorDesc &x = *request.inputs[0], &weight = *request.inputs[1], &y = request.outputs[0];
  const size_t dims = x.sizes().size() - 2;
  if (dims > kImageDims) return nullptr;
  ConvolutionParams params{};
  params.count = y.numel();
  params.channels = y.sizes()[1];
  params.group_inputs = x.sizes()[1] / shape.groups;
  params.group_channels = y.sizes()[1] / shape.groups;
  params.x_batch = x.strides()[0];
  params.x_channel = x.strides()[1];
  params.weight_first = weight.strides()[0];
  params.weight_second = weight.strides()[1];
  for (size_t d = 0; d < kImageDims; ++d) {
    params.x_sizes[d] = params.kernel[d] = params.y_sizes[d] = 1;
    params.stride[d] = params.dilation[d] = 1;
    if (d < kImageDims - dims) continue;
    const size_t from = d - (kImageDims - dims);
    params.x_sizes[d] = x.sizes()[2 + from];
    params.x_strides[d] = x.strides()[2 + from];
    params.kernel[d] = weight.sizes()[2 + from];
    params.weight_strides[d] = weight.strides()[2 + from];
    params.y_sizes[d] = y.sizes()[2 + from];
    params.stride[d] = shape.stride[from];
    params.padding[d] = shape.padding[from];
    params.dilation[d] = shape.dilation[from];
  }
  params.transposed = shape.transposed ? 1 : 0;
  params.x = type_of(x.dtype);
  params.weight = type_of(weight.dtype);
  params.y = type_of(y.dtype);
  if (request.inputs[2]) {
    params.bias = type_of(request.inputs[2]->dtype);
    params.bias_stride = request.inputs[2]->strides()[0];
  }
  return kernel_of({over_elements(
      functions, "convolution", params.count,
      {input(0), input(1), request.inputs[2] ? input(2) : none(), output()}, params)});
}

std::unique_ptr<Kernel> make_convolution(const Request& request, Functions& functions) {
  const TensorDesc &x = *request.inputs[0], &weight = *request.inputs[1], &y = request.outputs[0];
  if (y.numel() == 0) return std::make_unique<Kernel>();
  const Shape shape = shape_of(request);
  // With fewer rows to a group most of a product's tile would be empty.
  constexpr int64_t kLeastRows = 8;
  const bool multiplies = !shape.transposed && x.sizes().size() <= 4 && weight.numel() > 0 &&
                          (shape.groups == 1 || weight.sizes()[0] / shape.groups >= kLeastRows);
  if (!multiplies) return by_element(request, functions, shape);
  if (!weight.layout.is_contiguous()) return nullptr;
  return as_product(request, functions, shape);
}

}  // namespace

void add_convolution(KernelTable& table) { table["aten.convolution"] = make_convolution; }

}  // namespace ostinato::cuda
