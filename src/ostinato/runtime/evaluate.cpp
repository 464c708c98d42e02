#include "ostinato/runtime/evaluate.h"

#include <algorithm>

namespace ostinato::runtime {

namespace {

using device::Address;

Address fixed(const void* pointer) {
  return {Address::Kind::fixed, const_cast<void*>(pointer), 0, 0};
}

}  // namespace

std::vector<Tensor> evaluate(device::Device& device, const ir::Node& node,
                             std::span<const Tensor> operands) {
  device::PackedWeights packed;
  device::Request request;
  request.node = &node;
  request.packed = &packed;
  device::Step step;
  for (const Tensor& operand : operands) {
    request.constants.push_back(nullptr);  // not worth packing for one run
    request.inputs.emplace_back();
    if (operand.defined()) {
      request.inputs.back() = {operand.dtype(), ir::Layout::contiguous(operand.shape())};
    }
    step.inputs.push_back(operand.defined() ? fixed(operand.data()) : Address{});
  }
  std::vector<Tensor> results;
  for (const ir::Value* result : node.results) {
    const ir::Shape& shape = result->shape();
    if (!std::all_of(shape.begin(), shape.end(), [](const auto& d) { return d.is_constant(); })) {
      return {};
    }
    results.push_back(Tensor::empty(result->dtype(), to_integers(shape)));
    request.outputs.push_back({result->dtype(), ir::Layout::contiguous(to_integers(shape))});
    step.outputs.push_back(fixed(results.back().data()));
  }
  std::shared_ptr<device::Kernel> kernel = device.prepare(request);
  if (kernel == nullptr) return {};
  const std::shared_ptr<void> scratch = device.allocate(kernel->scratch_bytes());
  step.scratch = fixed(scratch.get());
  step.kernel = std::move(kernel);
  const auto stream = device.make_stream(1);
  device.launch(step, {}, *stream);
  device.synchronise(*stream);
  return results;
}

}  // namespace ostinato::runtime
