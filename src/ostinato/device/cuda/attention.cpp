#include "ostinato/device/cuda/kernels/attention.h"

#include <algorithm>
#include <cmath>

#include "ostinato/base/error.h"
#include "ostinato/device/cuda/elementwise.h"
#include "ostinato/device/cuda/factories.h"

namespace ostinato::cuda {

using device::Request;
using device::TensorDesc;

namespace {

constexpr unsigned kThreads = 128;

/// In how many parts the keys of a query are, so that few queries fill the GPU too.
int64_t splits_for(int64_t queries, int64_t keys, const Functions& functions) {
  constexpr int64_t kLeastKeys = 16, kBlocksAtOnce = 4, kMostSplits = 64;
  if (queries > kTickets) return 1;
  const int64_t wanted =
      kBlocksAtOnce * functions.multiprocessors() / std::max<int64_t>(queries, 1);
  return std::clamp<int64_t>(std::min(wanted, keys / kLeastKeys), 1, kMostSplits);
}

void copy_strides(const TensorDesc& tensor, int64_t* strides) {
  std::copy(tensor.strides().begin(), tensor.strides().end(), strides);
}

/// Which kernel attends for a block of queries at a time: where they are many, of one dtype.
struct Blocks {
  std::string function;
  unsigned threads = 0;
};

std::optional<Blocks> blocks_of(const AttentionParams& params, DType dtype) {
  constexpr int64_t kLeastQueries = 16;
  if (params.k != params.q || params.v != params.q || params.y != params.q ||
      params.queries < kLeastQueries || params.keys == 0) {
    return std::nullopt;
  }
  int64_t dim = kMostTileDim / 2;
  while (dim < std::max(params.head_dim, params.value_dim)) dim *= 2;
  const bool on_tensor_cores = dtype != DType::float32 && dim <= kMostTileDim;
  return Blocks{
      fmt::format("attention_{}_{}_{}", on_tensor_cores ? "tiles" : "blocks", name_of(dtype), dim),
      on_tensor_cores ? 128u : 256u};
}

/// (B, S, D) as one batch of B heads.
TensorDesc of_four_dims(const TensorDesc& tensor) {
  if (tensor.sizes().size() != 3) return tensor;
  TensorDesc wide = tensor;
  wide.layout.sizes.insert(wide.layout.sizes.begin(), 1);
  wide.layout.strides.insert(wide.layout.strides.begin(), 0);
  return wide;
}

/// The fused operator, and PyTorch's own.
std::unique_ptr<Kernel> make_attention(const Request& request, Functions& functions) {
  const ir::Node& node = *request.node;
  const bool fused = node.op->name == "attention";
  const TensorDesc q = of_four_dims(*request.inputs[0]), k = of_four_dims(*request.inputs[1]);
  const TensorDesc v = of_four_dims(*request.inputs[2]);
  const auto& mask = request.inputs[3];
  const std::optional<TensorDesc> position = fused ? request.inputs[4] : std::nullopt;
  const std::optional<TensorDesc> sinks = fused ? request.inputs[5] : std::nullopt;
  const TensorDesc y = of_four_dims(request.outputs[0]);
  AttentionParams params{};
  params.batch = q.sizes()[0];
  params.heads = q.sizes()[1];
  params.queries = q.sizes()[2];
  params.head_dim = q.sizes()[3];
  params.keys = k.sizes()[2];
  params.value_dim = v.sizes()[3];
  constexpr int64_t kMostHeads = 65535;  // along a grid's second dim
  if (params.head_dim > kMostHeadDim || params.value_dim > kMostHeadDim ||
      params.batch * params.heads > kMostHeads || (position && position->dtype != DType::int64) ||
      (sinks && !sinks->layout.is_contiguous())) {
    return nullptr;
  }
  auto kernel = std::make_unique<Kernel>();
  if (y.numel() == 0) return kernel;
  params.group = params.heads / k.sizes()[1];
  copy_strides(q, params.q_strides);
  copy_strides(k, params.k_strides);
  copy_strides(v, params.v_strides);
  copy_strides(y, params.y_strides);
  const auto use = [](const std::optional<TensorDesc>& operand, size_t index) {
    return Use{operand ? Use::Of::input : Use::Of::none, index, 0};
  };
  if (mask) {
    const auto strides =
        broadcast_strides(*mask, {params.batch, params.heads, params.queries, params.keys});
    std::copy(strides.begin(), strides.end(), params.mask_strides);
    params.mask = type_of(mask->dtype);
  }
  if (sinks) params.sinks = type_of(sinks->dtype);
  if (fused) params.offset = node.integer("offset");
  if (fused && node.has("softcap")) params.softcap = static_cast<float>(node.real("softcap"));
  params.window = fused && node.has("window") ? node.integer("window") : -1;
  params.scale = node.has("scale")
                     ? static_cast<float>(node.real("scale"))
                     : static_cast<float>(1 / std::sqrt(static_cast<double>(params.head_dim)));
  params.causal = node.flag(fused ? "causal" : "is_causal") ? 1 : 0;
  params.q = type_of(q.dtype);
  params.k = type_of(k.dtype);
  params.v = type_of(v.dtype);
  params.y = type_of(y.dtype);
  const int64_t rows = params.batch * params.heads * params.queries;
  const std::optional<Blocks> blocks = blocks_of(params, q.dtype);
  params.splits = blocks ? 1 : splits_for(rows, params.keys, functions);
  Use scratch{Use::Of::none, 0, 0};
  if (params.splits > 1) {
    scratch = {Use::Of::scratch, 0, 0};
    kernel->scratch =
        static_cast<size_t>(rows * params.splits * (params.value_dim + 2)) * sizeof(float);
  }
  Launch launch;
  if (blocks) {
    launch.function = functions.find(blocks->function);
    launch.threads = blocks->threads;
    launch.grid[0] = static_cast<unsigned>((params.queries + kTileQueries - 1) / kTileQueries);
  } else {
    launch.function = functions.find("attention");
    launch.threads = kThreads;
    launch.grid[0] = static_cast<unsigned>(params.queries * params.splits);
  }
  launch.grid[1] = static_cast<unsigned>(params.batch * params.heads);
  launch.operands = {{Use::Of::input, 0, 0},  {Use::Of::input, 1, 0},
                     {Use::Of::input, 2, 0},  use(mask, 3),
                     use(position, 4),        scratch,
                     {Use::Of::output, 0, 0}, use(sinks, 5)};
  launch.params = bytes_of_params(params);
  kernel->work.push_back({std::move(launch), nullptr});
  return kernel;
}

}  // namespace

void add_attention(KernelTable& table) {
  table["attention"] = table["aten.scaled_dot_product_attention"] = make_attention;
}

}  // namespace ostinato::cuda
