#include "ostinato/device/cuda/few_rows.h"

#include <algorithm>

#include "ostinato/base/error.h"

namespace ostinato::cuda {

namespace {

constexpr int64_t kThreads = 256, kWarps = 8, kLanes = 32;

int64_t pack_of(const FewRows& few) { return 16 / static_cast<int64_t>(size_of(few.dtype)); }

/// How many warps share a column, so that few columns fill the GPU too: as long as each lane has
/// two packs of weights to wait for at once.
int32_t split_for(const FewRows& few, int64_t columns, const Functions& functions) {
  constexpr int64_t kBlocksAtOnce = 2, kLeastPacks = 2;
  int32_t split = 1;
  const auto is_short = [&](int32_t wider) {
    return few.params.depth < wider * kLanes * pack_of(few) * kLeastPacks;
  };
  while (split < kWarps && columns * split < kBlocksAtOnce * functions.multiprocessors() * kWarps &&
         !is_short(2 * split)) {
    split *= 2;
  }
  return split;
}

}  // namespace

bool add_weight(FewRows& few, const Product& product) {
  const ProductParams& p = product.params;
  FewRowsParams& params = few.params;
  const int64_t pack = pack_of(few);
  if (p.rows > kMostFewRows || p.b_depth != 1 || p.depth % pack != 0 || p.a_row % pack != 0 ||
      p.b_column % pack != 0 || params.count == kMostWeights || p.b != p.a) {
    return false;
  }
  params.early = (params.count == 0 || params.early != 0) && product.b_is_constant ? 1 : 0;
  params.weights[params.count++] = {p.columns, p.b_column, p.bias_row, p.bias_column, p.bias};
  few.weights.insert(few.weights.end(),
                     {product.operands[1], product.operands[2], product.operands[4]});
  return true;
}

bool has_room_for_norm(const FewRows& few) {
  const int64_t elements = few.params.rows * few.params.depth;
  return elements * static_cast<int64_t>(size_of(few.dtype)) <= kMostNormedBytes;
}

Launch launch_few_rows(Functions& functions, const FewRows& few) {
  FewRowsParams params = few.params;
  int64_t columns = params.weights[0].columns;
  for (int32_t i = 1; !few.gated && i < params.count; ++i) columns += params.weights[i].columns;
  params.split = split_for(few, columns, functions);
  Launch launch;
  launch.function =
      functions.find(fmt::format("{}{}_{}", few.normed ? "norm_" : "",
                                 few.gated ? "gated_rows" : "few_rows", name_of(few.dtype)));
  launch.threads = static_cast<unsigned>(kThreads);
  const int64_t columns_to_block = kWarps / params.split;
  launch.grid[0] = static_cast<unsigned>((columns + columns_to_block - 1) / columns_to_block);
  launch.operands = {few.x, few.norm_weight, few.added};
  launch.operands.insert(launch.operands.end(), few.weights.begin(), few.weights.end());
  launch.params = bytes_of_params(params);
  return launch;
}

}  // namespace ostinato::cuda
