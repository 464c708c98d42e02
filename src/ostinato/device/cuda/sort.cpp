#include "ostinato/device/cuda/kernels/sort.h"

#include <algorithm>
#include <bit>

#include "ostinato/device/cuda/factories.h"
#include "ostinato/device/cuda/launches.h"

/// Sorts along a dim, and the first of them.
namespace ostinato::cuda {

using device::Request;
using device::TensorDesc;

namespace {

std::unique_ptr<Kernel> sort_lines(const Request& request, Functions& functions, bool descending) {
  const TensorDesc &x = *request.inputs[0], &places = request.outputs.back();
  const bool has_values = request.outputs.size() > 1;
  const TensorDesc& values = request.outputs[0];
  if (places.numel() == 0) return std::make_unique<Kernel>();
  const auto lines = lines_of(request.node->integer("dim"), {&x, &values, &places});
  if (!lines || lines->length > kMostBlocks) return nullptr;
  SortParams params{};
  params.lines = lines->walk;
  params.count = lines->count;
  params.length = lines->length;
  params.kept = places.numel() / lines->count;
  params.x_stride = lines->strides[0];
  params.values_stride = lines->strides[1];
  params.places_stride = lines->strides[2];
  params.tile = static_cast<int32_t>(
      std::bit_ceil(static_cast<uint64_t>(std::clamp<int64_t>(params.length, 2, kMostSorted))));
  params.descending = descending ? 1 : 0;
  params.x = type_of(x.dtype);
  const int64_t tiles = (params.length + params.tile - 1) / params.tile;
  if (params.count * tiles > kMostBlocks) return nullptr;
  const bool real = is_floating(x.dtype);
  const size_t entries = static_cast<size_t>(x.numel()) *
                         (real ? sizeof(SortEntry<uint32_t>) : sizeof(SortEntry<uint64_t>));
  const std::string suffix = real ? "_real" : "_integer";
  std::vector<Use> operands = {input(0), has_values ? output(0) : none(),
                               output(request.outputs.size() - 1), none(), none()};
  const auto threads = static_cast<unsigned>(std::clamp(params.tile / 2, 32, 256));
  std::vector<Launch> launches;
  if (tiles > 1) operands[4] = scratch();
  launches.push_back(
      over_blocks(functions, "sort" + suffix, params.count * tiles, threads, operands, params));
  // Each merge reads what the launch before it wrote, and writes to the other half.
  size_t read = 0, written = entries;
  for (params.width = params.tile; params.width < params.length; params.width *= 2) {
    operands[3] = scratch(read);
    operands[4] = 2 * params.width < params.length ? scratch(written) : none();
    launches.push_back(over_elements(functions, "merge" + suffix, x.numel(), operands, params));
    std::swap(read, written);
  }
  return kernel_of(std::move(launches), tiles > 1 ? 2 * entries : 0);
}

std::unique_ptr<Kernel> make_sort(const Request& request, Functions& functions) {
  return sort_lines(request, functions, request.node->flag("descending"));
}

std::unique_ptr<Kernel> make_topk(const Request& request, Functions& functions) {
  return sort_lines(request, functions, request.node->flag("largest"));
}

}  // namespace

void add_sort(KernelTable& table) {
  for (const std::string_view op :
       {"aten.sort", "aten.sort.stable", "aten.argsort", "aten.argsort.stable"}) {
    table[op] = make_sort;
  }
  table["aten.topk"] = make_topk;
}

}  // namespace ostinato::cuda
