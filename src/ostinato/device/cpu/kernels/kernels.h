#pragma once

#include "ostinato/device/cpu/kernel.h"

/// The fast kernels. Each takes inputs of any strides that its factory accepts and writes
/// contiguous outputs; arithmetic is in fp32, storage in the tensor's dtype.
namespace ostinato::cpu {

// One function a file of this room, each adding that file's kernels.
void add_attention(KernelTable& table);
void add_binary(KernelTable& table);
void add_cache_update(KernelTable& table);
void add_compare(KernelTable& table);
void add_concat(KernelTable& table);
void add_convolution(KernelTable& table);
void add_create(KernelTable& table);
void add_fused_elementwise(KernelTable& table);
void add_index(KernelTable& table);
void add_layer_norm(KernelTable& table);
void add_linear(KernelTable& table);
void add_matmul(KernelTable& table);
void add_normalization(KernelTable& table);
void add_reduce(KernelTable& table);
void add_rotary(KernelTable& table);
void add_rotary_pair(KernelTable& table);
void add_scan(KernelTable& table);
void add_softmax(KernelTable& table);
void add_sort(KernelTable& table);
void add_unary(KernelTable& table);
void add_view(KernelTable& table);

/// Lets the fast tier use the reference kernels, which must be there, of operators too rare for
/// more.
void reuse_reference(KernelTable& table);

}  // namespace ostinato::cpu
