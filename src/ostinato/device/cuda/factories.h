#pragma once

#include <map>
#include <string_view>

#include "ostinato/device/cuda/kernel.h"

namespace ostinato::cuda {

using KernelTable = std::map<std::string_view, Factory>;

// One function a file of this folder, each adding that file's kernels.
void add_attention(KernelTable& table);
void add_convolution(KernelTable& table);
void add_heads(KernelTable& table);
void add_image(KernelTable& table);
void add_index(KernelTable& table);
void add_linears(KernelTable& table);
void add_move(KernelTable& table);
void add_pointwise(KernelTable& table);
void add_product(KernelTable& table);
void add_program(KernelTable& table);
void add_reduce(KernelTable& table);
void add_rows(KernelTable& table);
void add_scan(KernelTable& table);
void add_sort(KernelTable& table);

}  // namespace ostinato::cuda
