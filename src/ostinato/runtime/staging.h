#pragma once

#include <memory>
#include <vector>

#include "ostinato/plan/plan.h"

namespace ostinato::runtime {

/// Memory on the device for what the caller gives and gets in host memory, and page-locked host
/// memory of the same size beside it. The executables of a context share one, since they never run
/// at once; it grows as they are made.
class StagingMemory {
 public:
  void reserve(device::Device& device, size_t bytes);

  char* on_device() const { return static_cast<char*>(device_.get()); }
  char* on_host() const { return static_cast<char*>(host_.get()); }

 private:
  std::shared_ptr<void> device_, host_;
  size_t bytes_ = 0;
};

/// Brings an executable's inputs to a device with memory of its own and its outputs back: one copy
/// each way, however many tensors there are.
class Staging {
 public:
  Staging(device::Device& device, device::Stream& stream, const plan::Plan& plan,
          std::shared_ptr<StagingMemory> memory);

  /// Queues the copy of the caller's inputs; where the device is to find them and put the outputs,
  /// valid until the next call.
  device::Bindings bring(const device::Bindings& host);

  /// Returns when the outputs are in the caller's memory. Throws what went wrong on the device.
  void take_back(const device::Bindings& host);

 private:
  struct Part {
    size_t offset, bytes;
  };

  Part add(const ir::Value& value);

  device::Device& device_;
  device::Stream& stream_;
  std::shared_ptr<StagingMemory> memory_;
  std::vector<Part> inputs_, outputs_;
  std::vector<size_t> written_;  // inputs that hold outputs in the end, as plans with donations say
  size_t output_begin_ = 0, bytes_ = 0;
  std::vector<void*> input_pointers_, output_pointers_;
};

}  // namespace ostinato::runtime
