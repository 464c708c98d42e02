#include "ostinato/device/cuda/capture.h"

#include <algorithm>

#include "ostinato/base/error.h"
#include "ostinato/device/cuda/kernels/feed_back.h"

namespace ostinato::cuda {

namespace {

using device::Address;
using device::Bindings;
using device::Step;

const Address& address_of(const Step& step, const Use& use) {
  static const Address none;
  switch (use.of) {
    case Use::Of::none: return none;
    case Use::Of::input: return step.inputs[use.index];
    case Use::Of::output: return step.outputs[use.index];
    case Use::Of::scratch: return step.scratch;
  }
  __builtin_unreachable();
}

void* moved(void* base, size_t offset) {
  return base == nullptr ? nullptr : static_cast<char*>(base) + offset;
}

void* resolve(const Address& address, const Bindings& bindings) {
  switch (address.kind) {
    case Address::Kind::none: return nullptr;
    case Address::Kind::fixed: return address.pointer;
    case Address::Kind::input: return moved(bindings.inputs[address.index], address.offset);
    case Address::Kind::output: return moved(bindings.outputs[address.index], address.offset);
  }
  __builtin_unreachable();
}

const std::vector<Use>& uses_of(const Kernel::Work& work) {
  return work.call != nullptr ? work.call->operands : work.launch.operands;
}

Operands no_operands(const CudaStream& stream, const Kernel& kernel) {
  Operands operands{};
  operands.fault = stream.fault();
  operands.node = kernel.node;
  operands.tickets = stream.tickets();
  return operands;
}

/// The driver reads the arguments while it is called, and keeps none of these pointers.
struct Arguments {
  Arguments(const Operands& operands, const Launch& launch)
      : pointers{const_cast<Operands*>(&operands), const_cast<std::byte*>(launch.params.data())} {}
  void* pointers[2];
};

CUDA_KERNEL_NODE_PARAMS_v3 node_params(const Launch& launch, Arguments& arguments) {
  CUDA_KERNEL_NODE_PARAMS_v3 params{};
  params.func = launch.function;
  params.gridDimX = launch.grid[0];
  params.gridDimY = launch.grid[1];
  params.gridDimZ = launch.grid[2];
  params.blockDimX = launch.threads;
  params.blockDimY = params.blockDimZ = 1;
  params.kernelParams = arguments.pointers;
  return params;
}

/// What a library's call queues, recorded instead of run.
class Recorded {
 public:
  Recorded(const LibraryCall& call, const Operands& operands, CUstream stream) {
    // Relaxed, since a library may load the code of a kernel when it first queues it.
    OSTINATO_CUDA(cuStreamBeginCapture, stream, CU_STREAM_CAPTURE_MODE_RELAXED);
    try {
      call.queue(operands, stream);
    } catch (...) {
      driver().cuStreamEndCapture(stream, &graph_);
      if (graph_ != nullptr) driver().cuGraphDestroy(graph_);
      throw;
    }
    OSTINATO_CUDA(cuStreamEndCapture, stream, &graph_);
  }
  ~Recorded() { driver().cuGraphDestroy(graph_); }
  Recorded(const Recorded&) = delete;
  Recorded& operator=(const Recorded&) = delete;

  CUgraph graph() const { return graph_; }

 private:
  CUgraph graph_ = nullptr;
};

}  // namespace

void launch(const Step& step, const Bindings& bindings, CudaStream& stream) {
  const auto& kernel = static_cast<const Kernel&>(*step.kernel);
  OSTINATO_CUDA(cuCtxSetCurrent, stream.context());
  for (const Kernel::Work& work : kernel.work) {
    Operands operands = no_operands(stream, kernel);
    const auto& uses = uses_of(work);
    for (size_t i = 0; i < uses.size(); ++i) {
      operands.at[i] = moved(resolve(address_of(step, uses[i]), bindings), uses[i].offset);
    }
    if (work.call != nullptr) {
      work.call->queue(operands, stream.get());
      continue;
    }
    const Launch& launch = work.launch;
    Arguments arguments(operands, launch);
    OSTINATO_CUDA(cuLaunchKernel, launch.function, launch.grid[0], launch.grid[1], launch.grid[2],
                  launch.threads, 1, 1, 0, stream.get(), arguments.pointers, nullptr);
  }
}

void feed_back(CUfunction kernel, const Bindings& bindings, const device::Feedback& feedback,
               int step, CudaStream& stream) {
  Operands operands{};
  operands.at[0] = bindings.outputs[feedback.output];
  operands.at[1] = bindings.inputs[feedback.input];
  operands.at[2] = bindings.inputs[feedback.counter];
  operands.at[3] = feedback.seen + step;
  FeedBackParams params{1};
  void* arguments[] = {&operands, &params};
  OSTINATO_CUDA(cuLaunchKernel, kernel, 1, 1, 1, 1, 1, 1, 0, stream.get(), arguments, nullptr);
}

CudaCapture::CudaCapture(std::vector<Step> steps, Functions& functions, CudaStream& stream,
                         std::string remark)
    : steps_(std::move(steps)),
      feed_back_(functions.find("feed_back")),
      stream_(stream),
      remark_(std::move(remark)) {
  OSTINATO_CUDA(cuCtxSetCurrent, stream_.context());
  OSTINATO_CUDA(cuGraphCreate, &graph_, 0);
  try {
    for (const Step& step : steps_) {
      const auto& kernel = static_cast<const Kernel&>(*step.kernel);
      for (const Kernel::Work& work : kernel.work) add(step, kernel, work);
    }
    executable_ = stream_.executable(graph_);
  } catch (...) {
    driver().cuGraphDestroy(graph_);
    throw;
  }
}

CudaCapture::~CudaCapture() {
  driver().cuCtxSetCurrent(stream_.context());
  if (stream_.is_borrowed()) stream_.settle();
  driver().cuGraphDestroy(graph_);
  stream_.keep_spare(executable_);
}

CudaCapture::Front& CudaCapture::front_of(const device::Branch& branch) {
  if (branch.section != section_) {
    Front all;
    for (const auto& [side, front] : fronts_) {
      for (CUgraphNode node : front.nodes) {
        const bool known = std::find(all.nodes.begin(), all.nodes.end(), node) != all.nodes.end();
        if (!known) all.nodes.push_back(node);
      }
      all.early = front.early && fronts_.size() == 1 && branch.section == 0;
    }
    before_ = std::move(all);
    fronts_.clear();
    section_ = branch.section;
  }
  return fronts_.try_emplace(branch.side, before_).first->second;
}

void CudaCapture::add(const Step& step, const Kernel& kernel, const Kernel::Work& work) {
  Patched node{nullptr, &work, no_operands(stream_, kernel), {}};
  const auto& uses = uses_of(work);
  for (size_t i = 0; i < uses.size(); ++i) {
    Address address = address_of(step, uses[i]);
    if (address.kind == Address::Kind::input || address.kind == Address::Kind::output) {
      address.offset += uses[i].offset;
      node.patches.push_back({static_cast<int>(i), address});
    } else {
      node.operands.at[i] = moved(resolve(address, {}), uses[i].offset);
    }
  }
  Front& front = front_of(step.branch);
  const size_t before = front.nodes.size();
  if (work.call != nullptr) {
    const Recorded recorded(*work.call, node.operands, stream_.recording());
    OSTINATO_CUDA(cuGraphAddChildGraphNode, &node.node, graph_, front.nodes.data(), before,
                  recorded.graph());
  } else {
    Arguments arguments(node.operands, work.launch);
    CUgraphNodeParams params{};
    params.type = CU_GRAPH_NODE_TYPE_KERNEL;
    params.kernel = node_params(work.launch, arguments);
    std::vector<CUgraphEdgeData> edges(before);
    if (front.early && stream_.launches_early()) {
      edges[0].from_port = CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC;
      edges[0].type = CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC;
    }
    OSTINATO_CUDA(cuGraphAddNode, &node.node, graph_, front.nodes.data(), edges.data(), before,
                  &params);
  }
  front = {{node.node}, work.call == nullptr};
  if (!node.patches.empty()) patched_.push_back(std::move(node));
}

void CudaCapture::apply(const Patched& patched) {
  if (patched.work->call != nullptr) {
    const Recorded recorded(*patched.work->call, patched.operands, stream_.recording());
    OSTINATO_CUDA(cuGraphExecChildGraphNodeSetParams, executable_, patched.node, recorded.graph());
    return;
  }
  Arguments arguments(patched.operands, patched.work->launch);
  CUgraphNodeParams params{};
  params.type = CU_GRAPH_NODE_TYPE_KERNEL;
  params.kernel = node_params(patched.work->launch, arguments);
  OSTINATO_CUDA(cuGraphExecNodeSetParams, executable_, patched.node, &params);
}

void CudaCapture::replay(const Bindings& bindings) {
  OSTINATO_CUDA(cuCtxSetCurrent, stream_.context());
  if (stream_.is_borrowed()) stream_.throw_fault();
  for (Patched& patched : patched_) {
    bool changed = false;
    for (const Patch& patch : patched.patches) {
      void*& pointer = patched.operands.at[patch.slot];
      void* now = resolve(patch.address, bindings);
      changed = changed || pointer != now;
      pointer = now;
    }
    if (changed) apply(patched);
  }
  OSTINATO_CUDA(cuGraphLaunch, executable_, stream_.get());
}

void CudaCapture::advance(const Bindings& bindings, const device::Feedback& feedback) {
  for (int i = 0; i < feedback.steps; ++i) {
    replay(bindings);
    feed_back(feed_back_, bindings, feedback, i, stream_);
  }
}

}  // namespace ostinato::cuda
