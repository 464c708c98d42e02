#pragma once

#include <nanobind/nanobind.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "graph.h"
#include "ostinato/runtime/context.h"
#include "tensors.h"

namespace ostinato::python {

/// How a runner runs; what each means is in docs/torch-backend.md.
struct RunnerOptions {
  std::string device = "cpu";
  runtime::Mode mode = runtime::Mode::graph;
  int threads = 0;  ///< 0: the default
  size_t capture_limit = 64;
  bool frozen_parameters = false;
  bool force_recapture = false;
  bool zero_copy = false;
  bool strict = false;       ///< records are errors
  bool packed_cache = true;  ///< packed weights are kept for later processes
  bool in_place = true, input_in_place = true, cat_in_place = true;
  bool specialise = false;
  std::string graph_pool;  ///< captures of all runners of this pool share an arena; empty: none
  bool reuse_pool = true;  ///< captures of this runner share one
  std::vector<std::string> passes_off;
};

/// What a runner did so far.
struct RunnerStatistics {
  size_t captures = 0, recaptures = 0, evictions = 0, programs = 0;
  size_t steps = 0;         ///< launches of the last capture
  size_t arenas = 0;        ///< that captures of one context have
  size_t written_back = 0;  ///< bytes, copied to arguments after calls
  double passes_ms = 0, plan_ms = 0, pack_ms = 0, capture_ms = 0;  ///< of all captures
};

/// A graph that takes and returns torch tensors, all on one device. On a GPU its work is queued on
/// PyTorch's stream as PyTorch's own is, so that PyTorch's allocator knows when memory is free.
///
/// Arguments are described first, in the order in which calls give them, then results. After that
/// it may be called from any thread: calls that overlap have a context each.
class Runner {
 public:
  Runner(const GraphBuilder& builder, RunnerOptions options);
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  /// A tensor whose dims lie in memory in this order; the graph's input has that shape. A tensor
  /// that lies otherwise is copied at each call.
  void take_input(const std::string& input, std::vector<size_t> order);
  /// A tensor that stays the same over many calls. Unless parameters are frozen each call checks
  /// that it does, and makes the program anew when it does not.
  void take_constant(const std::string& constant, std::vector<size_t> order);
  void take_number(const std::string& input);  ///< a float64 of rank 0, for an input of float32
  void take_symbol(std::string name);          ///< an int: the value of a symbol
  void take_unused();

  void give_output(size_t output);
  /// A view of an output's memory, or of an argument's; strides in elements, as `as_strided`.
  void give_view_of_output(size_t output, nanobind::handle sizes, nanobind::handle strides,
                           nanobind::handle offset);
  void give_view_of_argument(size_t argument, nanobind::handle sizes, nanobind::handle strides,
                             nanobind::handle offset);
  void give_argument(size_t argument);
  void give_dim(nanobind::handle dim);
  void give_none();

  /// Writes an output, which is no result, into the argument's memory after each call.
  void write_back(size_t output, size_t argument);

  /// What to call with the arguments where a shape cannot be captured; the next call of that shape
  /// tries again. Without it the error is raised.
  void fall_back(nanobind::object function) { fallback_ = std::move(function); }

  nanobind::list operator()(nanobind::list arguments);

  RunnerStatistics statistics() const { return statistics_; }
  int threads() const { return options_.threads; }
  /// What it runs; null before the first call.
  const runtime::Program* program() const { return program_.get(); }
  /// What its contexts, while no call has them, ran last.
  std::vector<const runtime::Executable*> executables() const;
  /// All of this process, for the bench. Under the GIL, as making and dropping them is.
  static const std::vector<const Runner*>& all();
  /// The text of the graph as it runs; empty before the first call.
  std::string program_text() const;

 private:
  enum class Kind { input, number, constant, symbol, unused };
  struct Argument {
    Kind kind = Kind::unused;
    size_t index = 0;           // of the graph's input or constant; of the symbol
    ir::ValueType type;         // in memory order
    std::vector<size_t> order;  // logical dim of each dim in memory; empty: as they are
  };
  struct SymbolSource {
    std::string name;
    size_t position;  // in the list of all inputs' sizes
  };
  struct Constant {
    const void* data = nullptr;
    int64_t version = 0;
    Tensor tensor;                               // keeps the memory
    std::shared_ptr<const void> on_device = {};  // in place of it, on a GPU
  };
  enum class ResultKind { output, output_view, argument, argument_view, dim, none };
  struct Result {
    ResultKind kind = ResultKind::none;
    size_t index = 0;
    ir::Shape sizes, strides;
    ir::Dim offset;
  };
  struct Write {
    size_t output, argument;
  };
  struct Slot;  // a context and what a call needs; used by one call at a time
  class Lease;

  void describe_symbols();
  bool constants_changed(PyObject* arguments) const;
  void read_constants(PyObject* arguments);
  void make_program();
  std::vector<plan::Donation> donations() const;
  void read_inputs(Slot& slot, PyObject* arguments) const;
  void keep_apart(Slot& slot, PyObject* arguments) const;
  void read_tensor(Slot& slot, const Argument& argument, size_t index, PyObject* tensor) const;
  void read_number(Slot& slot, size_t index, PyObject* tensor) const;
  void bind(Slot& slot) const;
  void prepare(Slot& slot);
  bool try_prepare(Slot& slot);
  void count(Slot& slot, const runtime::Counters& before);
  nanobind::dict details_of(const ir::Bindings& bindings) const;
  nanobind::list results(Slot& slot, PyObject* arguments) const;
  nanobind::object view(const Result& result, nanobind::handle base,
                        const ir::Bindings& bindings) const;
  void finish_writes(Slot& slot, PyObject* arguments);
  void write_on_device(Slot& slot, const Write& write, const nanobind::object& argument);
  void copy_on_device(Slot& slot, const Argument& argument, size_t index, PyObject* tensor) const;
  std::shared_ptr<device::Stream> stream() const;  // of the calling thread, for the program

  ir::Graph graph_;
  std::map<int, int> thread_limits_;  // by the id of a call's first result
  RunnerOptions options_;
  Place place_;  // of all tensors
  std::vector<Argument> arguments_;
  std::vector<Result> results_;
  std::vector<Write> writes_;
  std::vector<SymbolSource> sources_;  // of the shape key
  std::vector<std::string> given_symbols_;
  std::vector<bool> temporary_;  // by output: written back, and no result
  bool described_ = false;

  std::vector<Constant> constants_;
  std::shared_ptr<const runtime::Program> program_;
  std::vector<std::unique_ptr<Slot>> idle_;
  RunnerStatistics statistics_;
  nanobind::object fallback_;
};

void bind_runner(nanobind::module_& module);

}  // namespace ostinato::python
