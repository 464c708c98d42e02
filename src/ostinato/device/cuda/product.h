#pragma once

#include <optional>

#include "ostinato/device/cuda/kernel.h"
#include "ostinato/device/cuda/kernels/product.h"

namespace ostinato::cuda {

/// One product for all matrices of a batch, with its operands as the kernels take them.
struct Product {
  ProductParams params{};
  std::vector<Use> operands;  ///< a, b, bias, added, y
  int64_t matrices = 1;
};

/// The product by cuBLASLt, with what its epilogues do not know of bias, activation and residual
/// as launches after it; nothing where the dtypes or strides are not for it.
/// @param scratch_offset where its workspace may begin in the kernel's scratch
std::optional<Kernel> blas_product(Functions& functions, const Product& product,
                                   size_t scratch_offset);

}  // namespace ostinato::cuda
