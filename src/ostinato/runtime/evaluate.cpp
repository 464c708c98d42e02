#include "ostinato/runtime/evaluate.h"

#include "ostinato/base/error.h"
#include "ostinato/device/device.h"

namespace ostinato::runtime {

namespace {

using device::Address;

Address fixed(void* pointer) { return {Address::Kind::fixed, pointer, 0, 0}; }

device::TensorDesc describe(const Tensor& tensor) {
  return {tensor.dtype(), ir::Layout::contiguous(tensor.shape())};
}

std::vector<Tensor> evaluate(device::Device& cpu, device::Stream& stream, const ir::Node& node,
                             std::span<const Tensor> operands) {
  device::Request request;
  request.node = &node;
  request.tier = device::Tier::reference;
  device::Step step;
  for (Tensor operand : operands) {
    request.inputs.emplace_back();
    if (operand.defined()) request.inputs.back() = describe(operand);
    request.constants.push_back(operand.data());
    step.inputs.push_back(operand.defined() ? fixed(operand.data()) : Address{});
  }
  std::vector<Tensor> results;
  for (const ir::Value* result : node.results) {
    results.push_back(Tensor::empty(result->dtype(), to_integers(result->shape())));
    request.outputs.push_back(describe(results.back()));
    step.outputs.push_back(fixed(results.back().data()));
  }
  step.kernel = cpu.prepare(request);
  if (step.kernel == nullptr) return {};
  const std::shared_ptr<void> scratch = cpu.allocate(step.kernel->scratch_bytes());
  step.scratch = fixed(scratch.get());
  cpu.launch(step, {}, stream);
  cpu.synchronise(stream);
  return results;
}

}  // namespace

passes::PassContext constant_evaluator() {
  device::Device& cpu = device::get("cpu");
  const std::shared_ptr<device::Stream> stream = cpu.make_stream(1);
  return {[&cpu, stream](const ir::Node& node, std::span<const Tensor> operands) {
    try {
      return evaluate(cpu, *stream, node, operands);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::internal) throw;
      return std::vector<Tensor>();
    }
  }};
}

}  // namespace ostinato::runtime
