#pragma once

#include "ostinato/device/cuda/kernels/few_rows.h"
#include "ostinato/device/cuda/product.h"

namespace ostinato::cuda {

/// Products of the same few rows by several weights, in one launch.
struct FewRows {
  FewRowsParams params{};
  DType dtype = DType::float32;
  Use x, norm_weight{Use::Of::none, 0, 0}, added{Use::Of::none, 0, 0};
  std::vector<Use> weights;  ///< weight, bias or none, y, of each
  bool normed = false, gated = false;
};

/// Takes a product's weight, bias and result in; false where its rows are too many or do not lie as
/// the kernel wants them: elements side by side, and a whole number of 16 bytes long.
bool add_weight(FewRows& few, const Product& product);

/// Whether a block has room for the rows that it normalises.
bool has_room_for_norm(const FewRows& few);

Launch launch_few_rows(Functions& functions, const FewRows& few);

}  // namespace ostinato::cuda
