#include "device/cuda/fake_driver.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <queue>
#include <utility>

#include "device/cuda/emulator.h"
#include "device/cuda/fake_blas.h"
#include "ostinato/device/cuda/kernels/operands.h"

namespace ostinato::cuda {

namespace {

using Work = std::function<void()>;

FakeMachine machine;
FakeCounts counts;
std::recursive_mutex mutex;  // one thing at a time, as on one GPU

/// The memory of all GPUs, which no one can touch but while their work runs.
class Memory {
 public:
  Memory() {
    void* memory =
        mmap(nullptr, kReserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    base_ = static_cast<char*>(memory);
    free_.emplace(0, kReserved);
  }

  CUresult allocate(CUdeviceptr* address, size_t bytes) {
    bytes = (bytes + 511) / 512 * 512;
    const auto found = std::find_if(free_.begin(), free_.end(),
                                    [&](const auto& hole) { return hole.second >= bytes; });
    if (used_ + bytes > machine.memory_bytes || found == free_.end()) {
      return CUDA_ERROR_OUT_OF_MEMORY;
    }
    const size_t offset = found->first, rest = found->second - bytes;
    free_.erase(found);
    if (rest > 0) free_.emplace(offset + bytes, rest);
    taken_.emplace(offset, bytes);
    used_ += bytes;
    peak = std::max(peak, used_);
    *address = reinterpret_cast<CUdeviceptr>(base_ + offset);
    return CUDA_SUCCESS;
  }

  /// What is in it is overwritten, so that nothing that lived there can be read.
  void release(CUdeviceptr address) {
    const auto found = taken_.find(static_cast<size_t>(reinterpret_cast<char*>(address) - base_));
    if (found == taken_.end()) std::abort();
    std::memset(base_ + found->first, 0xff, found->second);
    used_ -= found->second;
    free_.insert(*found);
    taken_.erase(found);
  }

  void open(bool open) { mprotect(base_, kReserved, open ? PROT_READ | PROT_WRITE : PROT_NONE); }
  size_t used() const { return used_; }

  size_t peak = 0;

 private:
  static constexpr size_t kReserved = size_t{1} << 30;
  char* base_;
  std::map<size_t, size_t> free_, taken_;
  size_t used_ = 0;
};

Memory& memory() {
  static auto* const instance = new Memory;
  return *instance;
}

constexpr int kSharedBytes = 227 << 10;  // that a block may take, as on Hopper

/// A launch with its arguments copied, as the driver copies them.
struct Launched {
  const emulator::Kernel* kernel;
  emulator::Launch launch;
  std::vector<std::byte> operands, params;

  void operator()() const { emulator::launch(*kernel, launch, operands.data(), params.data()); }
};

template <typename Params>
Launched launched(const Params& node) {
  const auto* kernel = reinterpret_cast<const emulator::Kernel*>(node.func);
  const auto copy = [](const void* from, size_t bytes) {
    const auto* begin = static_cast<const std::byte*>(from);
    return std::vector<std::byte>(begin, begin + bytes);
  };
  return {kernel,
          {{node.gridDimX, node.gridDimY, node.gridDimZ}, node.blockDimX, node.sharedMemBytes},
          copy(node.kernelParams[0], sizeof(Operands)),
          copy(node.kernelParams[1], kernel->params_bytes)};
}

struct FakeNode {
  const void* kind;  // the kernel; null for a graph in the graph
  Work work;
  bool early = false;               // may be resident before the node that it depends on is done
  std::vector<size_t> before = {};  // places of those that it depends on
};
struct FakeGraph {
  std::vector<std::shared_ptr<FakeNode>> nodes;
};
struct FakeStream {
  std::deque<Work> queue;
  size_t done = 0;
  FakeGraph* recording = nullptr;

  size_t queued() const { return done + queue.size(); }  ///< ever
  void run_until(size_t end);
};
struct FakeEvent {
  FakeStream* stream = nullptr;
  size_t queued = 0;  // on it when the event was recorded
};

void FakeStream::run_until(size_t end) {
  memory().open(true);
  for (; done < end; ++done) {
    const Work work = std::move(queue.front());
    queue.pop_front();
    work();
  }
  memory().open(false);
}

FakeEvent& event_of(CUevent event) { return *reinterpret_cast<FakeEvent*>(event); }
FakeStream& stream_of(CUstream stream) {
  static FakeStream by_default;
  return stream == CU_STREAM_LEGACY ? by_default : *reinterpret_cast<FakeStream*>(stream);
}
FakeGraph& graph_of(void* graph) { return *static_cast<FakeGraph*>(graph); }

Work work_of(const FakeGraph& graph) {
  return [nodes = graph.nodes] {
    for (const auto& node : nodes) node->work();
  };
}

/// Executable: its nodes are copies, found again by the node of the graph they come from.
struct FakeExecutable {
  std::vector<std::shared_ptr<FakeNode>> from;
  std::vector<FakeNode> nodes;

  void take(const FakeGraph& graph) {
    from = graph.nodes;
    nodes.clear();
    for (const auto& node : from) nodes.push_back(*node);
  }
  FakeNode* find(CUgraphNode node) {
    for (size_t i = 0; i < from.size(); ++i) {
      if (from[i].get() == reinterpret_cast<FakeNode*>(node)) return &nodes[i];
    }
    return nullptr;
  }
};
FakeExecutable& executable_of(CUgraphExec executable) {
  return *reinterpret_cast<FakeExecutable*>(executable);
}

void queue(CUstream stream, Work work) {
  const std::scoped_lock lock(mutex);
  FakeStream& to = stream_of(stream);
  if (to.recording == nullptr) {
    to.queue.push_back(std::move(work));
    if (!machine.work_waits) to.run_until(to.queued());
  } else {
    to.recording->nodes.push_back(
        std::make_shared<FakeNode>(FakeNode{nullptr, std::move(work), false}));
  }
}

CUresult add_node(CUgraphNode* node, CUgraph graph, const CUgraphNode* before, size_t count,
                  FakeNode made) {
  auto& nodes = graph_of(graph).nodes;
  for (size_t i = 0; i < count; ++i) {
    const auto found = std::find_if(nodes.begin(), nodes.end(), [&](const auto& other) {
      return before[i] == static_cast<const void*>(other.get());
    });
    const auto place = static_cast<size_t>(found - nodes.begin());
    const auto& known = made.before;
    if (found == nodes.end() || std::find(known.begin(), known.end(), place) != known.end()) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    made.before.push_back(place);
  }
  // After a kernel only, and only where the GPU has it.
  if (made.early &&
      (count != 1 || nodes[made.before[0]]->kind == nullptr || machine.capability < 90)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  nodes.push_back(std::make_shared<FakeNode>(std::move(made)));
  *node = reinterpret_cast<CUgraphNode>(nodes.back().get());
  return CUDA_SUCCESS;
}

/// Runs the nodes in an order that their edges allow: of those that could come next the one that
/// was added last.
void run_backwards(const std::vector<FakeNode>& nodes) {
  std::vector<std::vector<size_t>> after(nodes.size());
  std::vector<size_t> awaited(nodes.size());
  std::priority_queue<size_t> ready;
  for (size_t i = 0; i < nodes.size(); ++i) {
    awaited[i] = nodes[i].before.size();
    for (size_t earlier : nodes[i].before) after[earlier].push_back(i);
    if (awaited[i] == 0) ready.push(i);
  }
  while (!ready.empty()) {
    const size_t next = ready.top();
    ready.pop();
    nodes[next].work();
    for (size_t later : after[next]) {
      if (--awaited[later] == 0) ready.push(later);
    }
  }
}

void fill_machine(Driver& fake) {
  fake.cuInit = [](unsigned) { return CUDA_SUCCESS; };
  fake.cuGetErrorName = [](CUresult error, const char** name) {
    *name = error == CUDA_ERROR_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_FAKE";
    return CUDA_SUCCESS;
  };
  fake.cuDriverGetVersion = [](int* version) { return *version = 13000, CUDA_SUCCESS; };
  fake.cuDeviceGetCount = [](int* count) { return *count = machine.gpus, CUDA_SUCCESS; };
  fake.cuDeviceGet = [](CUdevice* device, int i) { return *device = i, CUDA_SUCCESS; };
  fake.cuDeviceGetName = [](char* name, int size, CUdevice) {
    std::strncpy(name, "Fake GPU", static_cast<size_t>(size));
    return CUDA_SUCCESS;
  };
  fake.cuDeviceGetAttribute = [](int* value, CUdevice_attribute which, CUdevice) {
    *value = which == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR   ? machine.capability / 10
             : which == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR ? machine.capability % 10
             : which == CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
                 ? kSharedBytes
                 : machine.multiprocessors;
    return CUDA_SUCCESS;
  };
  fake.cuDeviceGetPCIBusId = [](char* id, int, CUdevice) { return *id = '\0', CUDA_SUCCESS; };
  fake.cuDeviceTotalMem = [](size_t* bytes, CUdevice) {
    return *bytes = machine.memory_bytes, CUDA_SUCCESS;
  };
  fake.cuDevicePrimaryCtxRetain = [](CUcontext* context, CUdevice) {
    return *context = reinterpret_cast<CUcontext>(&machine), CUDA_SUCCESS;
  };
  static thread_local CUcontext current = nullptr;
  fake.cuCtxGetCurrent = [](CUcontext* context) { return *context = current, CUDA_SUCCESS; };
  fake.cuCtxSetCurrent = [](CUcontext context) { return current = context, CUDA_SUCCESS; };
}

void fill_cooperative(Driver& fake) {
  fake.cuCtxGetDevice = [](CUdevice* device) { return *device = 0, CUDA_SUCCESS; };
  fake.cuFuncSetAttribute = [](CUfunction, CUfunction_attribute, int value) {
    return value <= kSharedBytes ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  };
  fake.cuOccupancyMaxActiveBlocksPerMultiprocessor = [](int* blocks, CUfunction, int,
                                                        size_t shared) {
    return *blocks = static_cast<int>(kSharedBytes / shared), CUDA_SUCCESS;
  };
  fake.cuLaunchCooperativeKernel = [](CUfunction function, unsigned x, unsigned, unsigned,
                                      unsigned threads, unsigned, unsigned, unsigned shared,
                                      CUstream stream, void** params) {
    const auto at_once = static_cast<unsigned>(machine.multiprocessors) * (kSharedBytes / shared);
    if (x > at_once) return CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
    CUDA_KERNEL_NODE_PARAMS node{};
    node.func = function;
    node.gridDimX = x;
    node.gridDimY = node.gridDimZ = 1;
    node.blockDimX = threads;
    node.sharedMemBytes = shared;
    node.kernelParams = params;
    ++counts.cooperative_launches;
    Launched work = launched(node);
    work.launch.cooperative = true;
    queue(stream, std::move(work));
    return CUDA_SUCCESS;
  };
}

void fill_memory(Driver& fake) {
  fake.cuMemPoolCreate = [](CUmemoryPool* pool, const CUmemPoolProps*) {
    return *pool = reinterpret_cast<CUmemoryPool>(&machine), CUDA_SUCCESS;
  };
  fake.cuMemPoolSetAttribute = [](CUmemoryPool, CUmemPool_attribute, void*) {
    return CUDA_SUCCESS;
  };
  fake.cuMemPoolGetAttribute = [](CUmemoryPool, CUmemPool_attribute which, void* value) {
    const bool peak = which == CU_MEMPOOL_ATTR_USED_MEM_HIGH;
    *static_cast<cuuint64_t*>(value) = peak ? memory().peak : memory().used();
    return CUDA_SUCCESS;
  };
  fake.cuMemAllocFromPoolAsync = [](CUdeviceptr* address, size_t bytes, CUmemoryPool, CUstream) {
    const std::scoped_lock lock(mutex);
    return memory().allocate(address, bytes);
  };
  fake.cuMemFreeAsync = [](CUdeviceptr address, CUstream stream) {
    queue(stream, [address] { memory().release(address); });
    return CUDA_SUCCESS;
  };
  fake.cuMemHostAlloc = [](void** memory, size_t bytes, unsigned) {
    *memory = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    return CUDA_SUCCESS;
  };
  fake.cuMemFreeHost = [](void* memory) { return std::free(memory), CUDA_SUCCESS; };
  fake.cuMemcpyHtoDAsync = [](CUdeviceptr to, const void* from, size_t bytes, CUstream stream) {
    ++counts.copies;
    queue(stream, [=] { std::memcpy(reinterpret_cast<void*>(to), from, bytes); });
    return CUDA_SUCCESS;
  };
  fake.cuMemcpyDtoHAsync = [](void* to, CUdeviceptr from, size_t bytes, CUstream stream) {
    ++counts.copies;
    queue(stream, [=] { std::memcpy(to, reinterpret_cast<const void*>(from), bytes); });
    return CUDA_SUCCESS;
  };
  fake.cuMemsetD8Async = [](CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream) {
    queue(stream, [=] { std::memset(reinterpret_cast<void*>(to), value, bytes); });
    return CUDA_SUCCESS;
  };
}

void fill_streams(Driver& fake) {
  fake.cuStreamCreate = [](CUstream* stream, unsigned) {
    return *stream = reinterpret_cast<CUstream>(new FakeStream), CUDA_SUCCESS;
  };
  fake.cuStreamDestroy = [](CUstream stream) { return delete &stream_of(stream), CUDA_SUCCESS; };
  fake.cuStreamSynchronize = [](CUstream stream) {
    const std::scoped_lock lock(mutex);
    ++counts.synchronisations;
    stream_of(stream).run_until(stream_of(stream).queued());
    return CUDA_SUCCESS;
  };
  fake.cuStreamBeginCapture = [](CUstream stream, CUstreamCaptureMode) {
    if (stream == CU_STREAM_LEGACY) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    return stream_of(stream).recording = new FakeGraph, CUDA_SUCCESS;
  };
  fake.cuStreamEndCapture = [](CUstream stream, CUgraph* graph) {
    *graph = reinterpret_cast<CUgraph>(std::exchange(stream_of(stream).recording, nullptr));
    return CUDA_SUCCESS;
  };
  fake.cuModuleLoadData = [](CUmodule* module, const void*) {
    return *module = reinterpret_cast<CUmodule>(&machine), CUDA_SUCCESS;
  };
  fake.cuModuleGetFunction = [](CUfunction* function, CUmodule, const char* name) {
    const emulator::Kernel* kernel = emulator::find(name);
    *function = reinterpret_cast<CUfunction>(const_cast<emulator::Kernel*>(kernel));
    return kernel != nullptr ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
  };
  fake.cuLaunchKernel = [](CUfunction function, unsigned x, unsigned y, unsigned z,
                           unsigned threads, unsigned, unsigned, unsigned, CUstream stream,
                           void** params, void**) {
    CUDA_KERNEL_NODE_PARAMS node{};
    node.func = function;
    node.gridDimX = x;
    node.gridDimY = y;
    node.gridDimZ = z;
    node.blockDimX = threads;
    node.kernelParams = params;
    ++counts.kernel_launches;
    queue(stream, launched(node));
    return CUDA_SUCCESS;
  };
}

void fill_events(Driver& fake) {
  fake.cuEventCreate = [](CUevent* event, unsigned) {
    return *event = reinterpret_cast<CUevent>(new FakeEvent), CUDA_SUCCESS;
  };
  fake.cuEventDestroy = [](CUevent event) { return delete &event_of(event), CUDA_SUCCESS; };
  fake.cuEventRecord = [](CUevent event, CUstream stream) {
    event_of(event) = {&stream_of(stream), stream_of(stream).queued()};
    return CUDA_SUCCESS;
  };
  fake.cuEventSynchronize = [](CUevent event) {
    const std::scoped_lock lock(mutex);
    ++counts.event_waits;
    const FakeEvent& own = event_of(event);
    if (own.stream != nullptr) own.stream->run_until(own.queued);
    return CUDA_SUCCESS;
  };
}

void fill_graphs(Driver& fake) {
  fake.cuGraphCreate = [](CUgraph* graph, unsigned) {
    return *graph = reinterpret_cast<CUgraph>(new FakeGraph), CUDA_SUCCESS;
  };
  fake.cuGraphDestroy = [](CUgraph graph) { return delete &graph_of(graph), CUDA_SUCCESS; };
  fake.cuGraphAddNode = [](CUgraphNode* node, CUgraph graph, const CUgraphNode* before,
                           const CUgraphEdgeData* edge, size_t count, CUgraphNodeParams* params) {
    bool early = false;
    for (size_t i = 0; i < count; ++i) {
      early = early || edge[i].type == CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC;
      if (early != (edge[i].from_port == CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC)) {
        return CUDA_ERROR_INVALID_VALUE;
      }
    }
    if (params->type != CU_GRAPH_NODE_TYPE_KERNEL) return CUDA_ERROR_INVALID_VALUE;
    return add_node(node, graph, before, count,
                    {params->kernel.func, launched(params->kernel), early});
  };
  fake.cuGraphAddChildGraphNode = [](CUgraphNode* node, CUgraph graph, const CUgraphNode* before,
                                     size_t count, CUgraph child) {
    return add_node(node, graph, before, count, {nullptr, work_of(graph_of(child)), false});
  };
  fake.cuGraphInstantiate = [](CUgraphExec* executable, CUgraph graph, unsigned long long) {
    auto* made = new FakeExecutable;
    made->take(graph_of(graph));
    *executable = reinterpret_cast<CUgraphExec>(made);
    ++counts.instantiations;
    return CUDA_SUCCESS;
  };
  fake.cuGraphExecDestroy = [](CUgraphExec executable) {
    return delete &executable_of(executable), CUDA_SUCCESS;
  };
  fake.cuGraphExecUpdate = [](CUgraphExec executable, CUgraph graph, CUgraphExecUpdateResultInfo*) {
    FakeExecutable& to = executable_of(executable);
    const auto& nodes = graph_of(graph).nodes;
    const bool alike = std::equal(nodes.begin(), nodes.end(), to.nodes.begin(), to.nodes.end(),
                                  [](const auto& a, const auto& b) {
                                    return (a->kind == nullptr) == (b.kind == nullptr) &&
                                           a->early == b.early && a->before == b.before;
                                  });
    if (!alike) return CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
    to.take(graph_of(graph));
    ++counts.updates;
    return CUDA_SUCCESS;
  };
  fake.cuGraphExecNodeSetParams = [](CUgraphExec executable, CUgraphNode node,
                                     CUgraphNodeParams* params) {
    FakeNode* found = executable_of(executable).find(node);
    if (found == nullptr || found->kind != params->kernel.func) return CUDA_ERROR_INVALID_VALUE;
    found->work = launched(params->kernel);
    ++counts.patches;
    return CUDA_SUCCESS;
  };
  fake.cuGraphExecChildGraphNodeSetParams = [](CUgraphExec executable, CUgraphNode node,
                                               CUgraph child) {
    FakeNode* found = executable_of(executable).find(node);
    if (found == nullptr || found->kind != nullptr) return CUDA_ERROR_INVALID_VALUE;
    found->work = work_of(graph_of(child));
    ++counts.patches;
    return CUDA_SUCCESS;
  };
  fake.cuGraphLaunch = [](CUgraphExec executable, CUstream stream) {
    ++counts.graph_launches;
    counts.last_graph = {};
    for (const FakeNode& node : executable_of(executable).nodes) {
      ++(node.kind == nullptr ? counts.last_graph.calls : counts.last_graph.kernels);
      counts.last_graph.early += node.early ? 1 : 0;
      counts.last_graph.joins += node.before.size() > 1 ? 1 : 0;
    }
    queue(stream, [nodes = executable_of(executable).nodes] { run_backwards(nodes); });
    return CUDA_SUCCESS;
  };
}

}  // namespace

void use_fake_driver(const FakeMachine& given) {
  machine = given;
  counts = {};
  static const Driver fake = [] {
    Driver driver;
    fill_machine(driver);
    fill_cooperative(driver);
    fill_memory(driver);
    fill_streams(driver);
    fill_events(driver);
    fill_graphs(driver);
    return driver;
  }();
  use_driver(&fake);
  use_fake_blas();
}

FakeCounts& fake_counts() { return counts; }

void queue_on(CUstream stream, std::function<void()> work) { queue(stream, std::move(work)); }

}  // namespace ostinato::cuda
