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
  bool b_is_constant = false;  ///< no kernel writes it
};

/// All but the operands that are optional; nothing where the dtypes are not floats or the dims too
/// many.
/// @param b_is_transposed its rows are columns of the result
std::optional<Product> product_of(const device::TensorDesc& a, size_t a_index,
                                  const device::TensorDesc& b, size_t b_index,
                                  const device::TensorDesc& y, bool b_is_transposed);

/// All rows of a tensor as one matrix, where strides allow it.
std::optional<device::TensorDesc> as_rows(const device::TensorDesc& x);

/// x · weightᵀ + bias of such rows; nothing for other ranks and dtypes.
/// @param bias none: no such operand
std::optional<Product> linear_product(const device::Request& request,
                                      const device::TensorDesc& rows, size_t weight,
                                      std::optional<size_t> bias, const device::TensorDesc& y);

/// By the kernel for few rows, by cuBLASLt, or by the kernel for all that neither takes; null where
/// the matrices are too many.
/// @param choices remembers which of cuBLASLt's algorithms was fastest
/// @param scratch_used by what else the kernel does
std::unique_ptr<Kernel> launch_product(Functions& functions, device::PackedWeights& choices,
                                       const Product& product, const device::TensorDesc& a,
                                       const device::TensorDesc& b, size_t scratch_used = 0);

/// The product by cuBLASLt, with what its epilogues do not know of bias, activation and residual
/// as launches after it; nothing where the dtypes or strides are not for it.
/// @param scratch_offset where its workspace may begin in the kernel's scratch
std::optional<Kernel> blas_product(Functions& functions, device::PackedWeights& choices,
                                   const Product& product, size_t scratch_offset);

}  // namespace ostinato::cuda
