#include "ostinato/device/cuda/kernels/scan.h"

#include <algorithm>

#include "ostinato/device/cuda/factories.h"
#include "ostinato/device/cuda/launches.h"

/// Running sums and products.
namespace ostinato::cuda {

using device::Request;
using device::TensorDesc;

namespace {

std::unique_ptr<Kernel> make_scan(const Request& request, Functions& functions) {
  const TensorDesc &x = *request.inputs[0], &y = request.outputs[0];
  if (y.numel() == 0) return std::make_unique<Kernel>();
  const auto lines = lines_of(request.node->integer("dim"), {&x, &y});
  if (!lines) return nullptr;
  ScanParams params{};
  params.lines = lines->walk;
  params.length = lines->length;
  params.x_stride = lines->strides[0];
  params.y_stride = lines->strides[1];
  params.x = type_of(x.dtype);
  params.y = type_of(y.dtype);
  const std::string name = request.node->op->name == "aten.cumsum" ? "cumsum" : "cumprod";
  const auto threads =
      static_cast<unsigned>(std::clamp<int64_t>((params.length + 31) / 32 * 32, 32, 256));
  return kernel_of({over_blocks(functions, name + (is_floating(y.dtype) ? "_real" : "_integer"),
                                lines->count, threads, {input(0), output()}, params)});
}

}  // namespace

void add_scan(KernelTable& table) { table["aten.cumsum"] = table["aten.cumprod"] = make_scan; }

}  // namespace ostinato::cuda
