#include "ostinato/runtime/staging.h"

#include <algorithm>
#include <cstring>

namespace ostinato::runtime {

namespace {

constexpr size_t kAlignment = 256;  // what kernels of any device may count on

}  // namespace

void StagingMemory::reserve(device::Device& device, size_t bytes) {
  if (bytes <= bytes_) return;
  const size_t grown = std::max(bytes, 2 * bytes_);
  std::shared_ptr<void> on_host = device.allocate_staging(grown);
  device_ = device.allocate(grown);
  host_ = std::move(on_host);
  bytes_ = grown;
}

Staging::Staging(device::Device& device, device::Stream& stream, const plan::Plan& plan,
                 std::shared_ptr<StagingMemory> memory)
    : device_(device), stream_(stream), memory_(std::move(memory)) {
  for (const ir::Value* input : plan.graph.inputs()) inputs_.push_back(add(*input));
  output_begin_ = bytes_;
  for (size_t i = 0; i < plan.graph.outputs().size(); ++i) {
    if (!plan.in_input[i]) {
      outputs_.push_back(add(*plan.graph.outputs()[i].value));
      continue;
    }
    outputs_.push_back({0, 0});
    const auto pair = std::find_if(plan.donations.begin(), plan.donations.end(),
                                   [i](const plan::Donation& each) { return each.output == i; });
    written_.push_back(pair->input);
  }
  input_pointers_.resize(inputs_.size());
  output_pointers_.resize(outputs_.size());
  memory_->reserve(device_, bytes_);
}

Staging::Part Staging::add(const ir::Value& value) {
  const Part part{bytes_, bytes_of(value)};
  bytes_ += (part.bytes + kAlignment - 1) / kAlignment * kAlignment;
  return part;
}

device::Bindings Staging::bring(const device::Bindings& host) {
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const Part& part = inputs_[i];
    if (part.bytes > 0) {
      std::memcpy(memory_->on_host() + part.offset, host.inputs[i], part.bytes);
    }
    input_pointers_[i] = memory_->on_device() + part.offset;
  }
  for (size_t i = 0; i < outputs_.size(); ++i) {
    output_pointers_[i] = memory_->on_device() + outputs_[i].offset;
  }
  if (output_begin_ > 0) {
    device_.copy_to_device(memory_->on_device(), memory_->on_host(), output_begin_, stream_);
  }
  return {input_pointers_, output_pointers_};
}

void Staging::take_back(const device::Bindings& host) {
  if (bytes_ > output_begin_) {
    device_.copy_to_host(memory_->on_host() + output_begin_, memory_->on_device() + output_begin_,
                         bytes_ - output_begin_, stream_);
  }
  for (const size_t input : written_) {
    const Part& part = inputs_[input];
    device_.copy_to_host(memory_->on_host() + part.offset, memory_->on_device() + part.offset,
                         part.bytes, stream_);
  }
  device_.synchronise(stream_);
  for (size_t i = 0; i < outputs_.size(); ++i) {
    const Part& part = outputs_[i];
    if (part.bytes > 0) std::memcpy(host.outputs[i], memory_->on_host() + part.offset, part.bytes);
  }
  for (const size_t input : written_) {
    const Part& part = inputs_[input];
    if (part.bytes > 0) {
      std::memcpy(host.inputs[input], memory_->on_host() + part.offset, part.bytes);
    }
  }
}

}  // namespace ostinato::runtime
