#pragma once

#include <algorithm>
#include <string_view>

#include "ostinato/device/cuda/persistent/schedule.h"

namespace ostinato::cuda::persistent {

/// An operand of a call.
struct Operand {
  const device::TensorDesc* desc = nullptr;  // null for None
  device::Address address;

  bool given() const { return desc != nullptr; }
  int64_t numel() const { return desc->numel(); }
};

/// By its place in the call.
inline Operand operand(const Call& call, size_t index) {
  const auto& desc = call.request.inputs[index];
  return desc ? Operand{&*desc, call.inputs[index]} : Operand{};
}

/// By its name in the operator's row.
inline Operand operand(const Call& call, std::string_view name) {
  const auto& specs = call.request.node->op->operands;
  const auto found = std::find_if(specs.begin(), specs.end(),
                                  [&](const ir::OperandSpec& spec) { return spec.name == name; });
  return operand(call, static_cast<size_t>(found - specs.begin()));
}

inline Operand result(const Call& call, size_t index) {
  return {&call.request.outputs[index], call.outputs[index]};
}

/// Whether the heads of (1, H, 1, D) lie one after the other.
inline bool has_dense_heads(const device::TensorDesc& desc) {
  const auto &sizes = desc.sizes(), &strides = desc.strides();
  return sizes.size() == 4 && sizes[0] == 1 && sizes[2] == 1 && strides[3] == 1 &&
         (sizes[1] == 1 || strides[1] == sizes[3]);
}

/// What one weight of a call gives; of a gated call two weights.
struct Part {
  Operand weights[2], biases[2], residual, output;
};

}  // namespace ostinato::cuda::persistent
