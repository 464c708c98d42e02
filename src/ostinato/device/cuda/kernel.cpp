#include "ostinato/device/cuda/kernel.h"

#include <algorithm>
#include <map>

#include "ostinato/device/cuda/factories.h"

namespace ostinato::cuda {

namespace {

const KernelTable& table() {
  static const KernelTable instance = [] {
    KernelTable made;
    add_attention(made);
    add_convolution(made);
    add_heads(made);
    add_image(made);
    add_index(made);
    add_linears(made);
    add_move(made);
    add_pointwise(made);
    add_product(made);
    add_program(made);
    add_reduce(made);
    add_rows(made);
    add_scan(made);
    add_sort(made);
    return made;
  }();
  return instance;
}

}  // namespace

Factory find_factory(std::string_view op) {
  const auto found = table().find(op);
  return found == table().end() ? nullptr : found->second;
}

std::vector<std::string_view> operators() {
  std::vector<std::string_view> names;
  for (const auto& entry : table()) names.push_back(entry.first);
  return names;
}

}  // namespace ostinato::cuda
