#pragma once

#include <list>
#include <memory>
#include <span>
#include <vector>

#include "ostinato/runtime/arena.h"
#include "ostinato/runtime/program.h"
#include "ostinato/runtime/staging.h"

namespace ostinato::runtime {

/// Where the time of making an executable went, in milliseconds. Packing weights happens once per
/// program: later executables find them packed.
struct Phases {
  double plan_ms = 0, pack_ms = 0, capture_ms = 0;
};

/// What a program becomes for one shape key: planned, bound, and in graph mode captured.
class Executable {
 public:
  /// Runs on the caller's memory: one pointer an input and one an output, in the graph's order,
  /// each dense and of the type that `inputs` and `outputs` say. In graph mode this allocates
  /// nothing, takes no lock and looks nothing up.
  void operator()(const device::Bindings& bindings);

  /// Brings the inputs to the device for `advance`. Only where it is captured; what the pointers
  /// point to must stay until the device has done all that is queued.
  void bring(const device::Bindings& bindings);

  /// Queues runs on what `bring` brought and earlier calls fed back. On a device that shares the
  /// host's memory they are done when this returns, and outputs are where `bring` was told; on
  /// others outputs stay on the device.
  void advance(const device::Feedback& feedback);
  int steps_at_once() const { return capture_->steps_at_once(); }

  /// What the device says of how it runs; empty where it is not captured.
  std::string remark() const { return capture_ == nullptr ? std::string() : capture_->remark(); }

  device::Device& device() const { return *device_; }
  device::Stream& stream() const { return *stream_; }
  const std::vector<ir::ValueType>& outputs() const { return outputs_; }
  const plan::Plan& plan() const { return plan_; }
  const Phases& phases() const { return phases_; }
  const void* arena() const { return arena_.get(); }        ///< null where not captured
  bool is_captured() const { return capture_ != nullptr; }  ///< replays, instead of step by step

 private:
  friend class Context;

  void run_step_by_step(const device::Bindings& bindings);
  void launch_steps(const device::Bindings& bindings);

  plan::Plan plan_;
  Phases phases_;
  std::vector<ir::ValueType> outputs_;
  device::Device* device_ = nullptr;
  device::Stream* stream_ = nullptr;
  std::shared_ptr<void> arena_;
  std::unique_ptr<device::Capture> capture_;  // graph mode
  std::vector<device::Step> steps_;           // the other modes; arena addresses are buffer numbers
  std::unique_ptr<Staging> staging_;          // on a device with memory of its own
  device::Bindings brought_;
};

struct ContextOptions {
  size_t capture_limit = 64;  ///< shape keys kept; past it the one used longest ago goes
  /// Threads to run on; null for its own, as many as the program's options say. Contexts
  /// that share a stream belong to one thread at a time together.
  std::shared_ptr<device::Stream> stream = nullptr;
  /// Memory that contexts of one stream share; null: this context's own.
  std::shared_ptr<Arena> arena = nullptr;
  bool share_arena = true;  ///< false: each capture has an arena of its own
  /// The caller's pointers are to memory of the device: nothing is copied, and in graph mode
  /// nothing waited for.
  bool on_device = false;
};

using ostinato::Counters;

/// The mutable side of a program: threads, memory, state buffers, captures. Belongs to one thread
/// at a time.
class Context {
 public:
  explicit Context(std::shared_ptr<const Program> program, ContextOptions options = {});

  /// The executable for a shape key, made at the first call; valid until `capture_limit` other keys
  /// have been asked for.
  Executable& prepare(const ir::Bindings& bindings);

  /// Runs on whole tensors in the order of the graph's inputs; the outputs are new memory that no
  /// later call touches. Throws `invalid_argument` naming the input for a wrong dtype or shape.
  std::vector<Tensor> run(std::span<const Tensor> inputs);

  /// The same into tensors of the outputs' dtypes and shapes, none of which may share memory with
  /// another or with an input. Throws `invalid_argument` naming the output.
  void run_into(std::span<const Tensor> inputs, std::span<Tensor> outputs);

  /// Makes every state zero, as it is at the beginning.
  void reset_states();

  const Program& program() const { return *program_; }
  const Counters& counters() const { return counters_; }
  int threads() const { return stream_->threads(); }

 private:
  struct Entry {
    std::vector<int64_t> key;  // sizes in the order of the program's symbols
    Executable executable;
  };

  Executable& prepare_for(std::span<const Tensor> inputs);
  Executable make(const ir::Bindings& bindings);
  void make_states(const ir::Graph& graph);
  device::Address address(const plan::Plan& plan, const plan::Place& place, void* arena) const;

  std::shared_ptr<const Program> program_;
  ContextOptions options_;
  std::shared_ptr<device::Stream> stream_;
  std::shared_ptr<StagingMemory> staging_ = std::make_shared<StagingMemory>();
  struct State {
    std::vector<int64_t> sizes;
    size_t bytes = 0;
    std::shared_ptr<void> memory;
  };
  std::vector<State> states_;
  std::list<Entry> entries_;  // the one used last first; gone before the memory they use
  Counters counters_;
};

}  // namespace ostinato::runtime
