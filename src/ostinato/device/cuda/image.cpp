#include "ostinato/device/cuda/kernels/image.h"

#include <algorithm>

#include "ostinato/device/cuda/factories.h"
#include "ostinato/device/cuda/launches.h"

/// Pools and resizing of pictures.
namespace ostinato::cuda {

using device::Request;
using device::TensorDesc;

namespace {

/// Planes and sizes, which pools and resizing both have; false where the planes cannot be walked.
template <typename Params>
bool set_planes(const Request& request, Params& params) {
  const TensorDesc &x = *request.inputs[0], &y = request.outputs[0];
  const size_t planes = x.sizes().size() - 2;
  const auto front = [planes](const std::vector<int64_t>& values) {
    return std::vector<int64_t>(values.begin(),
                                values.begin() + static_cast<std::ptrdiff_t>(planes));
  };
  const auto walk = walk_of(front(x.sizes()), {front(x.strides())});
  if (!walk) return false;
  params.planes = *walk;
  params.count = y.numel();
  for (size_t d = 0; d < 2; ++d) {
    params.x_sizes[d] = x.sizes()[planes + d];
    params.x_strides[d] = x.strides()[planes + d];
    params.y_sizes[d] = y.sizes()[planes + d];
  }
  params.type = type_of(x.dtype);
  return true;
}

/// Two integers, or one for both; none leave what is there.
void read_pair(const ir::Node& node, std::string_view name, int64_t (&pair)[2]) {
  const std::vector<int64_t> values = node.integers(name);
  if (values.empty()) return;
  pair[0] = values.front();
  pair[1] = values.back();
}

PoolParams windows_of(const ir::Node& node) {
  PoolParams params{};
  read_pair(node, "kernel_size", params.kernel);
  read_pair(node, "kernel_size", params.stride);  // unless it is given
  read_pair(node, "stride", params.stride);
  read_pair(node, "padding", params.padding);
  return params;
}

std::unique_ptr<Kernel> pool(const Request& request, Functions& functions, const char* name,
                             PoolParams params) {
  if (request.outputs[0].numel() == 0) return std::make_unique<Kernel>();
  if (!set_planes(request, params)) return nullptr;
  std::vector<Use> operands = {input(0)};
  for (size_t i = 0; i < request.outputs.size(); ++i) operands.push_back(output(i));
  return kernel_of({over_elements(functions, name, params.count, std::move(operands), params)});
}

std::unique_ptr<Kernel> make_max_pool(const Request& request, Functions& functions) {
  PoolParams params = windows_of(*request.node);
  read_pair(*request.node, "dilation", params.dilation);
  return pool(request, functions, "max_pool", params);
}

std::unique_ptr<Kernel> make_avg_pool(const Request& request, Functions& functions) {
  const ir::Node& node = *request.node;
  PoolParams params = windows_of(node);
  params.count_padding = node.flag("count_include_pad") ? 1 : 0;
  if (node.has("divisor_override")) params.divisor = node.integer("divisor_override");
  return pool(request, functions, "avg_pool", params);
}

std::unique_ptr<Kernel> make_adaptive_avg_pool(const Request& request, Functions& functions) {
  return pool(request, functions, "adaptive_avg_pool", {});
}

template <Upsampling how>
std::unique_ptr<Kernel> make_upsample(const Request& request, Functions& functions) {
  if (request.outputs[0].numel() == 0) return std::make_unique<Kernel>();
  const ir::Node& node = *request.node;
  UpsampleParams params{};
  if (!set_planes(request, params)) return nullptr;
  params.how = how;
  params.align_corners = how != Upsampling::nearest && node.flag("align_corners") ? 1 : 0;
  const std::string_view scales[] = {"scales_h", "scales_w"};
  for (size_t d = 0; d < 2; ++d) {
    const auto from = static_cast<float>(params.x_sizes[d]);
    const auto to = static_cast<float>(params.y_sizes[d]);
    if (params.align_corners != 0) {
      params.step[d] = to > 1 ? (from - 1) / (to - 1) : 0;
    } else if (node.has(scales[d]) && node.real(scales[d]) > 0) {
      params.step[d] = static_cast<float>(1 / node.real(scales[d]));
    } else {
      params.step[d] = from / to;
    }
  }
  return kernel_of(
      {over_elements(functions, "upsample", params.count, {input(0), output()}, params)});
}

}  // namespace

void add_image(KernelTable& table) {
  table["aten.max_pool2d_with_indices"] = make_max_pool;
  table["aten.avg_pool2d"] = make_avg_pool;
  table["aten._adaptive_avg_pool2d"] = make_adaptive_avg_pool;
  table["aten.adaptive_avg_pool2d"] = make_adaptive_avg_pool;
  table["aten.upsample_nearest2d"] = make_upsample<Upsampling::nearest>;
  table["aten.upsample_bilinear2d"] = make_upsample<Upsampling::linear>;
  table["aten.upsample_bicubic2d"] = make_upsample<Upsampling::cubic>;
}

}  // namespace ostinato::cuda
