#pragma once

#include <optional>

#include "ostinato/device/cuda/kernel.h"
#include "ostinato/device/cuda/kernels/elementwise.h"
#include "ostinato/device/cuda/kernels/rows.h"

namespace ostinato::cuda {

/// What an elementwise kernel reads: an operand under the result's sizes, or a scalar.
struct Source {
  const device::TensorDesc* tensor = nullptr;  ///< null for a scalar
  size_t operand = 0;                          ///< which of the step's inputs
  double real = 0;
  int64_t integer = 0;
  bool rounds = true;  ///< a tensor of another dtype is rounded to the one computed in first
};

/// A launch of the elementwise kernel `name`; nothing when there are more dims than a kernel takes.
/// @param dtype what is computed in: the kernel's `_real` or `_integer` half
/// @param result the dtype, sizes and strides of what is written
std::optional<Launch> elementwise(Functions& functions, const std::string& name, DType dtype,
                                  const std::vector<Source>& sources,
                                  const device::TensorDesc& result,
                                  const ElementwiseParams& extra = {},
                                  Use output = {Use::Of::output, 0, 0});

/// Sizes with as few dims as the strides of up to three tensors allow; nothing when there are more
/// than a kernel takes.
std::optional<Walk> walk_of(const std::vector<int64_t>& sizes,
                            const std::vector<std::vector<int64_t>>& strides);

/// A tensor's strides under a shape that it broadcasts to.
std::vector<int64_t> broadcast_strides(const device::TensorDesc& tensor,
                                       const std::vector<int64_t>& sizes);

/// The same operand with sizes and strides of its own, such as a part of it.
device::TensorDesc part(DType dtype, std::vector<int64_t> sizes, std::vector<int64_t> strides);

/// As the kernels know it.
inline Type type_of(DType dtype) { return static_cast<Type>(dtype); }

/// How many blocks so many units of work take, at most a few for each multiprocessor.
unsigned blocks_for(int64_t units, unsigned per_block, const Functions& functions);

}  // namespace ostinato::cuda
