#include "ostinato/device/cuda/kernels/heads.h"

#include <algorithm>

#include "ostinato/device/cuda/elementwise.h"
#include "ostinato/device/cuda/factories.h"
#include "ostinato/device/cuda/kernels/attention.h"

/// What stands between the products for queries, keys and values and the attention, in one launch.
namespace ostinato::cuda {

using device::Request;
using device::TensorDesc;

namespace {

/// Where the operands of either operator are among the step's.
struct Places {
  size_t query, key, cos, sin, query_weight, key_weight;
  Use new_query, new_key;
};

void copy_strides(const std::vector<int64_t>& from, int64_t* to, size_t count) {
  std::copy_n(from.begin(), count, to);
}

/// All but keys' and values' targets; null where the kernel does not take it.
std::optional<Launch> heads(const Request& request, Functions& functions, const Places& places,
                            HeadsParams& params) {
  const TensorDesc &query = *request.inputs[places.query], &key = *request.inputs[places.key];
  const TensorDesc &cos = *request.inputs[places.cos], &sin = *request.inputs[places.sin];
  params.heads = query.sizes()[1];
  params.key_heads = key.sizes()[1];
  params.length = query.sizes()[2];
  params.head_dim = query.sizes()[3];
  params.rotated = cos.sizes().back();
  const auto table_fits = [&](const TensorDesc& table) {
    const size_t rank = table.sizes().size();
    const int64_t table_heads = rank < 3 ? 1 : table.sizes()[rank - 3];
    return table.sizes().back() == params.rotated &&
           (table_heads == 1 || params.heads == params.key_heads);
  };
  if (cos.dtype != sin.dtype || params.rotated % 2 != 0 || params.rotated > params.head_dim ||
      params.head_dim > kMostHeadDim || !table_fits(cos) || !table_fits(sin)) {
    return std::nullopt;
  }
  params.query_rows = query.numel() / std::max<int64_t>(params.head_dim, 1);
  params.key_rows = key.numel() / std::max<int64_t>(params.head_dim, 1);
  copy_strides(query.strides(), params.q_strides, 4);
  copy_strides(key.strides(), params.k_strides, 4);
  std::vector<int64_t> rotated = query.sizes();
  rotated.back() = params.rotated;
  copy_strides(broadcast_strides(cos, rotated), params.cos_strides, 4);
  copy_strides(broadcast_strides(sin, rotated), params.sin_strides, 4);
  params.normed = request.node->has("eps") ? 1 : 0;
  if (params.normed != 0) params.eps = static_cast<float>(request.node->real("eps"));
  params.interleaved = request.node->flag("interleaved") ? 1 : 0;
  params.type = type_of(query.dtype);
  params.table = type_of(cos.dtype);
  const auto weight = [&](size_t index) -> std::optional<Use> {
    if (!request.inputs[index]) return Use{Use::Of::none, 0, 0};
    if (!request.inputs[index]->layout.is_contiguous()) return std::nullopt;
    return Use{Use::Of::input, index, 0};
  };
  const auto query_weight = weight(places.query_weight), key_weight = weight(places.key_weight);
  if (!query_weight || !key_weight) return std::nullopt;
  const Use none{Use::Of::none, 0, 0};
  Launch launch;
  launch.function = functions.find("heads");
  launch.threads = 128;
  launch.operands = {{Use::Of::input, places.query, 0},
                     {Use::Of::input, places.key, 0},
                     none,
                     none,
                     {Use::Of::input, places.cos, 0},
                     {Use::Of::input, places.sin, 0},
                     *query_weight,
                     *key_weight,
                     places.new_query,
                     places.new_key,
                     none};
  return launch;
}

std::unique_ptr<Kernel> finished(Launch launch, const HeadsParams& params, int64_t rows) {
  constexpr int64_t kRowsOfBlock = 4;
  auto kernel = std::make_unique<Kernel>();
  if (rows == 0) return kernel;
  launch.grid[0] = static_cast<unsigned>((rows + kRowsOfBlock - 1) / kRowsOfBlock);
  launch.params = bytes_of_params(params);
  kernel->work.push_back({std::move(launch), nullptr});
  return kernel;
}

std::unique_ptr<Kernel> make_rotary_pair(const Request& request, Functions& functions) {
  HeadsParams params{};
  const auto launch =
      heads(request, functions,
            {0, 1, 2, 3, 4, 5, {Use::Of::output, 0, 0}, {Use::Of::output, 1, 0}}, params);
  if (!launch) return nullptr;
  copy_strides(request.outputs[0].strides(), params.to_query_strides, 3);
  copy_strides(request.outputs[1].strides(), params.to_key_strides, 3);
  return finished(*launch, params, params.query_rows + params.key_rows);
}

std::unique_ptr<Kernel> make_rotary_cache(const Request& request, Functions& functions) {
  const TensorDesc &keys = *request.inputs[1], &values = *request.inputs[3];
  const TensorDesc& value = *request.inputs[4];
  HeadsParams params{};
  auto launch = heads(request, functions,
                      {0, 2, 6, 7, 8, 9, {Use::Of::output, 2, 0}, {Use::Of::input, 1, 0}}, params);
  if (!launch || request.inputs[5]->dtype != DType::int64 || keys.strides()[3] != 1 ||
      values.strides()[3] != 1) {
    return nullptr;
  }
  copy_strides(request.outputs[2].strides(), params.to_query_strides, 3);
  copy_strides(keys.strides(), params.to_key_strides, 3);
  copy_strides(values.strides(), params.to_value_strides, 3);
  copy_strides(value.strides(), params.v_strides, 4);
  params.value_dim = value.sizes()[3];
  params.most = std::min(keys.sizes()[2], values.sizes()[2]) - params.length;
  launch->operands[2] = {Use::Of::input, 4, 0};
  launch->operands[3] = {Use::Of::input, 5, 0};
  launch->operands[10] = {Use::Of::input, 3, 0};
  return finished(*launch, params, params.query_rows + 2 * params.key_rows);
}

}  // namespace

void add_heads(KernelTable& table) {
  table["rotary_pair"] = make_rotary_pair;
  table["rotary_cache"] = make_rotary_cache;
}

}  // namespace ostinato::cuda
