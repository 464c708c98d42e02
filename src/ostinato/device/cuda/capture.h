#pragma once

#include <map>
#include <string>
#include <vector>

#include "ostinato/device/cuda/kernel.h"
#include "ostinato/device/cuda/stream.h"

namespace ostinato::cuda {

/// Queues one step's work on the stream.
void launch(const device::Step& step, const device::Bindings& bindings, CudaStream& stream);

/// Queues the feedback of a step, by a kernel that writes to the page-locked memory of the host
/// too.
/// @param kernel `feed_back`
/// @param step which of the feedback's
void feed_back(CUfunction kernel, const device::Bindings& bindings,
               const device::Feedback& feedback, int step, CudaStream& stream);

/// All steps as one CUDA graph, a node after the other, but for the sides of a section, which hang
/// each by itself off what comes before it; between kernels of ours by programmatic dependent
/// launch, where the GPU has it and a side neither begins nor ends. A replay is one launch of the
/// graph; where the caller's pointers are others than last time, the nodes that take them are
/// patched first.
class CudaCapture final : public device::Capture {
 public:
  /// @param remark for reports
  CudaCapture(std::vector<device::Step> steps, Functions& functions, CudaStream& stream,
              std::string remark = {});
  ~CudaCapture() override;
  CudaCapture(const CudaCapture&) = delete;
  CudaCapture& operator=(const CudaCapture&) = delete;

  void replay(const device::Bindings& bindings) override;
  void advance(const device::Bindings& bindings, const device::Feedback& feedback) override;

  std::string remark() const override { return remark_; }

  /// How many nodes take pointers of the caller's.
  size_t patched() const { return patched_.size(); }

 private:
  struct Patch {
    int slot;
    device::Address address;
  };
  struct Patched {
    CUgraphNode node;
    const Kernel::Work* work;
    Operands operands;
    std::vector<Patch> patches;
  };

  /// The nodes that the next one depends on, and whether it may be resident before they are done:
  /// there is one, a kernel of ours.
  struct Front {
    std::vector<CUgraphNode> nodes;
    bool early = false;
  };

  /// What a step of that branch depends on.
  Front& front_of(const device::Branch& branch);
  void add(const device::Step& step, const Kernel& kernel, const Kernel::Work& work);
  void apply(const Patched& patched);

  std::vector<device::Step> steps_;  // keeps the kernels
  CUfunction feed_back_;
  CudaStream& stream_;
  std::string remark_;
  CUgraph graph_ = nullptr;
  Front before_;                    // the section that is being added
  std::map<size_t, Front> fronts_;  // its sides'
  size_t section_ = 0;
  CUgraphExec executable_ = nullptr;
  std::vector<Patched> patched_;
};

}  // namespace ostinato::cuda
