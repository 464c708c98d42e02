#include "ostinato/device/cuda/stream.h"

#include "ostinato/base/error.h"
#include "ostinato/device/cuda/kernels/operands.h"

namespace ostinato::cuda {

CudaStream::CudaStream(CUcontext context, std::shared_ptr<void> tickets, bool launches_early,
                       std::optional<CUstream> borrowed)
    : context_(context), tickets_(std::move(tickets)), launches_early_(launches_early) {
  OSTINATO_CUDA(cuCtxSetCurrent, context_);
  OSTINATO_CUDA(cuStreamCreate, &own_, CU_STREAM_NON_BLOCKING);
  stream_ = borrowed.value_or(own_);
  void* fault = nullptr;
  OSTINATO_CUDA(cuMemHostAlloc, &fault, sizeof(void*), CU_MEMHOSTALLOC_PORTABLE);
  fault_ = static_cast<const void**>(fault);
  *fault_ = nullptr;
  OSTINATO_CUDA(cuMemsetD8Async, reinterpret_cast<CUdeviceptr>(tickets_.get()), 0,
                kTickets * sizeof(unsigned), stream_);
}

CudaStream::~CudaStream() {
  const Driver& cuda = driver();
  cuda.cuCtxSetCurrent(context_);
  cuda.cuStreamSynchronize(stream_);
  for (CUgraphExec spare : spares_) cuda.cuGraphExecDestroy(spare);
  cuda.cuStreamDestroy(own_);
  cuda.cuMemFreeHost(fault_);
}

void CudaStream::synchronise() {
  OSTINATO_CUDA(cuStreamSynchronize, stream_);
  throw_fault();
}

std::optional<Error> CudaStream::take_fault() {
  const auto* node = static_cast<const ir::Node*>(*fault_);
  if (node == nullptr) return {};
  *fault_ = nullptr;
  return Error(ErrorCode::invalid_argument, fmt::format("run/{}", node->op->name),
               fmt::format("an operand holds an index out of range, a zero divisor or a range "
                           "without bounds{}",
                           node->source.empty() ? "" : fmt::format(" (at {})", node->source)),
               "Check the token ids, positions, index tensors and divisors that were given.");
}

void CudaStream::throw_fault() {
  const auto fault = settled_ ? std::exchange(settled_, std::nullopt) : take_fault();
  if (fault) throw *fault;
}

void CudaStream::settle() noexcept {
  driver().cuStreamSynchronize(stream_);
  const auto fault = take_fault();
  if (!settled_) settled_ = fault;
}

CUgraphExec CudaStream::executable(CUgraph graph) {
  while (!spares_.empty()) {
    CUgraphExec spare = spares_.back();
    spares_.pop_back();
    CUgraphExecUpdateResultInfo info{};
    if (driver().cuGraphExecUpdate(spare, graph, &info) == CUDA_SUCCESS) return spare;
    OSTINATO_CUDA(cuGraphExecDestroy, spare);
  }
  CUgraphExec result = nullptr;
  OSTINATO_CUDA(cuGraphInstantiate, &result, graph, 0);
  return result;
}

void CudaStream::keep_spare(CUgraphExec executable) {
  constexpr size_t kSpares = 2;
  if (spares_.size() < kSpares) {
    spares_.push_back(executable);
  } else {
    driver().cuGraphExecDestroy(executable);
  }
}

CudaEvent::CudaEvent(CudaStream& stream) : stream_(stream) {
  OSTINATO_CUDA(cuCtxSetCurrent, stream_.context());
  OSTINATO_CUDA(cuEventCreate, &event_, CU_EVENT_DISABLE_TIMING);
}

CudaEvent::~CudaEvent() { driver().cuEventDestroy(event_); }

void CudaEvent::record() { OSTINATO_CUDA(cuEventRecord, event_, stream_.get()); }

void CudaEvent::wait() {
  OSTINATO_CUDA(cuEventSynchronize, event_);
  stream_.throw_fault();
}

}  // namespace ostinato::cuda
