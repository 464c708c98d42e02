#include "ostinato/device/cuda/elementwise.h"

#include <algorithm>

namespace ostinato::cuda {

using device::TensorDesc;

static_assert(static_cast<int>(Type::float32) == static_cast<int>(DType::float32));
static_assert(static_cast<int>(Type::boolean) == static_cast<int>(DType::boolean));

unsigned blocks_for(int64_t units, unsigned per_block, const Functions& functions) {
  constexpr int64_t kBlocksAtOnce = 16;  // of a multiprocessor, so that its loads overlap
  const int64_t needed = (units + per_block - 1) / per_block;
  return static_cast<unsigned>(
      std::clamp<int64_t>(needed, 1, kBlocksAtOnce * functions.multiprocessors()));
}

TensorDesc part(DType dtype, std::vector<int64_t> sizes, std::vector<int64_t> strides) {
  return {dtype, {std::move(sizes), std::move(strides), 0}};
}

namespace {

constexpr unsigned kThreads = 256;
constexpr int64_t kAtOnce = 4;

struct Folded {
  std::vector<int64_t> sizes;
  std::vector<std::vector<int64_t>> strides;
};

/// As few dims as the strides allow, and at least one.
Folded fold(const std::vector<int64_t>& sizes, const std::vector<std::vector<int64_t>>& strides) {
  Folded folded{{}, std::vector<std::vector<int64_t>>(strides.size())};
  for (size_t d = 0; d < sizes.size(); ++d) {
    if (sizes[d] == 1) continue;
    bool joins = !folded.sizes.empty();
    for (size_t k = 0; joins && k < strides.size(); ++k) {
      joins = folded.strides[k].back() == strides[k][d] * sizes[d];
    }
    if (joins) {
      folded.sizes.back() *= sizes[d];
    } else {
      folded.sizes.push_back(sizes[d]);
    }
    for (size_t k = 0; k < strides.size(); ++k) {
      if (joins) folded.strides[k].pop_back();
      folded.strides[k].push_back(strides[k][d]);
    }
  }
  if (folded.sizes.empty()) {
    folded.sizes.push_back(1);
    for (auto& each : folded.strides) each.push_back(0);
  }
  return folded;
}

}  // namespace

std::optional<Walk> walk_of(const std::vector<int64_t>& sizes,
                            const std::vector<std::vector<int64_t>>& strides) {
  const Folded folded = fold(sizes, strides);
  if (folded.sizes.size() > kMaxDims) return std::nullopt;
  Walk walk{};
  walk.dims = static_cast<int32_t>(folded.sizes.size());
  std::copy(folded.sizes.begin(), folded.sizes.end(), walk.sizes);
  for (size_t k = 0; k < strides.size(); ++k) {
    std::copy(folded.strides[k].begin(), folded.strides[k].end(), walk.strides[k]);
  }
  return walk;
}

std::vector<int64_t> broadcast_strides(const TensorDesc& tensor,
                                       const std::vector<int64_t>& sizes) {
  std::vector<int64_t> strides(sizes.size(), 0);
  const size_t missing = sizes.size() - tensor.sizes().size();
  for (size_t d = 0; d < tensor.sizes().size(); ++d) {
    if (tensor.sizes()[d] != 1) strides[missing + d] = tensor.strides()[d];
  }
  return strides;
}

std::optional<Launch> elementwise(Functions& functions, const std::string& name, DType dtype,
                                  const std::vector<Source>& sources, const TensorDesc& result,
                                  const ElementwiseParams& extra, Use output) {
  ElementwiseParams params = extra;
  Launch launch;
  std::vector<std::vector<int64_t>> strides;
  for (size_t k = 0; k < sources.size(); ++k) {
    const Source& from = sources[k];
    ElementwiseSource& to = params.sources[k];
    to.slot = -1;
    to.real = from.real;
    to.integer = from.integer;
    strides.emplace_back(result.sizes().size(), 0);
    if (from.tensor == nullptr) continue;
    to.slot = static_cast<int32_t>(launch.operands.size());
    to.type = type_of(from.tensor->dtype);
    to.computed = type_of(dtype);
    to.rounds = from.rounds && from.tensor->dtype != dtype ? 1 : 0;
    launch.operands.push_back({Use::Of::input, from.operand, 0});
    strides.back() = broadcast_strides(*from.tensor, result.sizes());
  }
  params.count = result.numel();
  params.result = type_of(result.dtype);
  params.result_slot = static_cast<int32_t>(launch.operands.size());
  launch.operands.push_back(output);
  strides.push_back(result.strides());
  const Folded folded = fold(result.sizes(), strides);
  if (folded.sizes.size() > kMaxDims) return std::nullopt;
  params.dims = static_cast<int32_t>(folded.sizes.size());
  std::copy(folded.sizes.begin(), folded.sizes.end(), params.sizes);
  std::copy(folded.strides.back().begin(), folded.strides.back().end(), params.result_strides);
  for (size_t k = 0; k < sources.size(); ++k) {
    std::copy(folded.strides[k].begin(), folded.strides[k].end(), params.sources[k].strides);
  }
  launch.function = functions.find(name + (is_floating(dtype) ? "_real" : "_integer"));
  launch.threads = kThreads;
  launch.grid[0] = blocks_for(params.count, kThreads * kAtOnce, functions);
  launch.params = bytes_of_params(params);
  return launch;
}

}  // namespace ostinato::cuda
