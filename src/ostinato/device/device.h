#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ostinato/device/packed_cache.h"
#include "ostinato/ir/graph.h"

/// The contract between the engine and a device. No device call inside a capture synchronises,
/// allocates or reads back; kernels never allocate: outputs and scratch are given to them.
namespace ostinato::device {

/// A concrete tensor: what a kernel is specialised to. The layout's offset is always zero, because
/// addresses already point at the first element.
struct TensorDesc {
  DType dtype = DType::float32;
  ir::Layout layout;

  const std::vector<int64_t>& sizes() const { return layout.sizes; }
  const std::vector<int64_t>& strides() const { return layout.strides; }
  int64_t numel() const { return layout.numel(); }
  size_t bytes() const { return static_cast<size_t>(numel()) * size_of(dtype); }
};

/// Constants in the layout that a kernel wants them in, each made once and shared by all captures
/// of a program, and by later processes where there is a cache. Thread-safe; only `prepare` comes
/// here, never a replay.
class PackedWeights {
 public:
  using Make = std::function<std::shared_ptr<const void>()>;

  explicit PackedWeights(std::shared_ptr<PackedCache> cache = nullptr) : cache_(std::move(cache)) {}

  /// What `make` returned for this constant and format when it was first asked for. It must depend
  /// on the constant's elements and the format only, neither on the ISA nor on the threads.
  /// @param constant the bytes from its first element to its last
  /// @param bytes the size of what `make` returns
  /// @param threads that may read the constant
  std::shared_ptr<const void> get(std::span<const uint8_t> constant, const std::string& format,
                                  size_t bytes, int threads, const Make& make);

  /// What was remembered under this key, by this process or an earlier one on the same cache.
  std::optional<int64_t> choice(const std::string& key);

  /// Remembers what a measurement chose, so that it need not be made again.
  /// @param key all that the choice depends on, the machine's hardware among it
  void remember(const std::string& key, int64_t choice);

  /// Hands what was made since the last time to the cache, which writes it while nothing else is to
  /// be done.
  void keep();

  size_t bytes() const;
  double milliseconds() const;  ///< spent in `make` so far

 private:
  std::shared_ptr<PackedCache> cache_;
  mutable std::mutex mutex_;
  std::vector<PackedCache::Item> made_;  // since the last `keep`
  std::map<std::pair<const void*, std::string>, std::shared_ptr<const void>> packed_;
  std::map<std::string, int64_t> choices_;
  size_t bytes_ = 0;
  double milliseconds_ = 0;
};

/// `reference`: plain loops in fp32, the oracle. `fast`: the best the device has.
enum class Tier { reference, fast };

/// One node with concrete operands. The node outlives the kernel prepared from it.
struct Request {
  const ir::Node* node = nullptr;
  std::vector<std::optional<TensorDesc>> inputs;  ///< one an operand; nullopt for None
  std::vector<TensorDesc> outputs;  ///< contiguous, but dense for operators that are `strided`
  /// One an operand: its data in host memory, null where it is no constant or only on the device.
  std::vector<const void*> constants;
  std::set<size_t> resident = {};  ///< operands that are constants whose data only the device has
  Tier tier = Tier::fast;
  int threads = 1;                  ///< of the stream the kernel will run on
  PackedWeights* packed = nullptr;  ///< never null for the fast tier

  bool is_constant(size_t operand) const {
    return constants[operand] != nullptr || resident.contains(operand);
  }
};

/// A node made ready to run many times; immutable, so that threads can share it.
class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual size_t scratch_bytes() const { return 0; }
  virtual int workers() const { return 1; }  ///< that it keeps busy, as `Concurrency` counts them
};

/// Where a kernel finds an operand: at a fixed address, or at an offset from one of the pointers
/// that the caller gives with each call.
struct Address {
  enum class Kind { none, fixed, input, output };
  Kind kind = Kind::none;
  void* pointer = nullptr;  ///< of `fixed`
  size_t index = 0;         ///< of `input` and `output`: which one
  size_t offset = 0;        ///< of `input` and `output`: bytes
};

/// What of a section a step is. A section is some consecutive steps, cut into sides: no step of one
/// touches what a step of another writes, in any memory, so that sides may run at once, each in its
/// order. All before the section is done before it begins, and all of it before what follows. The
/// order of the steps is always right: a device may run them in it and never look here.
struct Branch {
  size_t section = 0;  ///< the index of the step after it; 0: the step is in none
  size_t side = 0;

  bool operator==(const Branch&) const = default;
};

/// One launch: a kernel and where its operands lie.
struct Step {
  std::shared_ptr<const Kernel> kernel;
  std::vector<Address> inputs, outputs;
  Address scratch;
  Branch branch = {};
};

/// What a device can do at once, and what it costs: for the planner, which makes sections only of
/// steps that keep no more workers busy than there are for each side. By default it makes none.
struct Concurrency {
  int workers = 1;
  double flops_per_second = 0, bytes_per_second = 0;  ///< of one worker
  double step_seconds = 0;                            ///< that a step takes beside its work
  double section_seconds = 0;  ///< that a section takes beside its longest side
};

/// The pointers of one call, in the order of the graph's inputs and outputs.
struct Bindings {
  std::span<void*const> inputs, outputs;
};

/// An ordered queue of work; on the CPU a team of threads. Used by one thread at a time.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual int threads() const { return 1; }  ///< of the host that work on it, the caller among them
};

/// A mark in a stream's queue that the host can wait for while later work goes on. Where nothing
/// queues, whatever was recorded is done.
class Event {
 public:
  virtual ~Event() = default;
  virtual void record() {}  ///< behind all that is queued on its stream by now
  virtual void wait() {}    ///< until that is done. Throws what went wrong in it
};

/// What a decoder's step leaves for the next one, so that the host need not see a token before the
/// step after it is queued. Outputs and inputs are int64 with one element.
struct Feedback {
  size_t output = 0;        ///< the token that the step chose
  size_t input = 0;         ///< takes the token
  size_t counter = 0;       ///< an input that grows by one: the position
  int64_t* seen = nullptr;  ///< of `allocate_staging`: takes the token of each step for the host
  int steps = 1;            ///< one after the other
  /// A device may end after one of these, and run no step on one; what `seen` holds for steps that
  /// it did not run means nothing.
  std::span<const int64_t> stops = {};
};

/// A recorded list of steps. A replay allocates nothing, takes no lock and looks nothing up.
class Capture {
 public:
  virtual ~Capture() = default;
  /// Returns when the steps are queued on the stream (on the CPU: done).
  virtual void replay(const Bindings& bindings) = 0;

  /// The same, and then the feedback, for each of the steps.
  virtual void advance(const Bindings& bindings, const Feedback& feedback) {
    for (int i = 0; i < feedback.steps; ++i) {
      replay(bindings);
      const int64_t token = *static_cast<const int64_t*>(bindings.outputs[feedback.output]);
      *static_cast<int64_t*>(bindings.inputs[feedback.input]) = token;
      ++*static_cast<int64_t*>(bindings.inputs[feedback.counter]);
      feedback.seen[i] = token;
    }
  }

  /// How many steps it gains by to be asked for at once.
  virtual int steps_at_once() const { return 1; }

  /// For a report: as what it runs and why, where there is more than one way. The first replay may
  /// decide.
  virtual std::string remark() const { return {}; }
};

struct Properties {
  std::string name;  ///< `AMD EPYC 9R14`
  std::string isa;   ///< what kernels run on, such as `avx512_bf16`
  int cores = 0;
  size_t memory_bytes = 0;
  size_t memory_in_use_bytes = 0;  ///< by all processes, when asked
};

class Device {
 public:
  virtual ~Device() = default;

  virtual std::string_view name() const = 0;  ///< as in `--device`
  virtual Properties properties() const = 0;

  /// Whether its memory is the host's: kernels then get the addresses of constants and of what the
  /// caller gives as they are. Otherwise the runtime copies constants once, and stages the caller's
  /// inputs and outputs around each run.
  virtual bool shares_host_memory() const { return true; }

  /// Memory on the device, 64-byte aligned, uninitialised; throws `out_of_memory`.
  virtual std::shared_ptr<void> allocate(size_t bytes) = 0;
  /// The same for work on this stream alone, given back while such work may still be queued.
  virtual std::shared_ptr<void> allocate_for(size_t bytes, Stream&) { return allocate(bytes); }
  /// Memory of the host that copies to and from the device are fastest with (page-locked).
  virtual std::shared_ptr<void> allocate_staging(size_t bytes) { return allocate(bytes); }

  /// Queued on the stream, as launches are: the host's memory must stay until `synchronise`.
  virtual void clear(void* target, size_t bytes, Stream& stream) = 0;
  virtual void copy_to_device(void* target, const void* host, size_t bytes, Stream& stream) = 0;
  virtual void copy_to_host(void* host, const void* source, size_t bytes, Stream& stream) = 0;

  /// @param threads on the CPU: the workers of the team, the caller among them
  virtual std::unique_ptr<Stream> make_stream(int threads) = 0;

  /// A stream that another library made, by the driver's handle; it must outlive what uses this.
  /// Faults of replays are thrown by the next one on it. Throws `unsupported` where there are none.
  virtual std::unique_ptr<Stream> borrow_stream(void* handle);

  /// What the driver keeps for the calling thread, put back as it is now when this goes.
  virtual std::shared_ptr<void> keep_current() { return nullptr; }

  /// For this stream, which must outlive it.
  virtual std::unique_ptr<Event> make_event(Stream&) { return std::make_unique<Event>(); }

  /// A kernel for the node, or null when there is none for these dtypes and layouts: the caller
  /// then makes the operands contiguous and asks again, or reports the gap.
  virtual std::unique_ptr<Kernel> prepare(const Request& request) = 0;

  /// Whether it has kernels for the operator at all. Passes make no fused calls that it would have
  /// to take apart again.
  virtual bool has(const ir::OpRow&) const { return true; }

  /// Whether the fast tier has no kernel of its own for the operator and runs the reference's.
  virtual bool falls_back(const ir::OpRow&) const { return false; }

  /// @param threads of the stream
  virtual Concurrency concurrency(int /*threads*/) { return {}; }

  /// Runs one step; returns when it is queued (on the CPU: done).
  virtual void launch(const Step& step, const Bindings& bindings, Stream& stream) = 0;

  /// Binds the steps for replay on the stream, which must outlive the capture.
  virtual std::unique_ptr<Capture> capture(std::vector<Step> steps, Stream& stream) = 0;

  /// Waits until all that was queued is done. Throws what went wrong in it.
  virtual void synchronise(Stream& stream) = 0;
};

/// The device of that name (`cpu`, `null`); throws `not_found` listing those there are.
Device& get(std::string_view name);

/// Of the libraries that kernels come from, and of the compiler.
std::map<std::string, std::string> versions();

/// All devices of this build that can be used on this machine.
std::vector<Device*> all();

}  // namespace ostinato::device
