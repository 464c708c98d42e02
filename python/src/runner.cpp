#include "runner.h"

#include <nanobind/stl/string.h>

#include <algorithm>
#include <map>

#include "events.h"
#include "ostinato/base/error.h"
#include "ostinato/base/threads.h"
#include "ostinato/ir/text.h"
#include "packed.h"
#include "pools.h"
#include "slot.h"
#include "streams.h"

namespace ostinato::python {

namespace nb = nanobind;
using ir::Dim;
using runtime::Context;
using runtime::Program;

namespace {

constexpr std::string_view kStage = "python/runner";

// `_version` counts the writes to a tensor's memory; tensors made in inference mode have none.
int64_t version_of(PyObject* tensor) {
  static PyObject* const name = PyUnicode_InternFromString("_version");
  const nb::object version = nb::steal(PyObject_GetAttr(tensor, name));
  if (!version.is_valid()) {
    PyErr_Clear();
    return -1;
  }
  return PyLong_AsLongLong(version.ptr());
}

size_t index_of(const std::vector<ir::Value*>& values, const std::string& name) {
  const auto found = std::find_if(values.begin(), values.end(),
                                  [&](const ir::Value* value) { return value->name == name; });
  if (found == values.end()) {
    fail(ErrorCode::invalid_argument, kStage, "Describe the values of the runner's own graph.",
         "'{}' is not of this graph", name);
  }
  return static_cast<size_t>(found - values.begin());
}

/// Never destroyed: PyTorch drops compiled functions when it likes.
std::vector<const Runner*>& living() {
  static auto* const runners = new std::vector<const Runner*>;
  return *runners;
}

}  // namespace

/// Takes an idle slot of the calling thread's, or makes one, and gives it back. Under the GIL.
class Runner::Lease {
 public:
  explicit Lease(Runner& runner) : runner_(runner) {
    const auto stream = runner.stream();
    auto& idle = runner.idle_;
    if (runner.options_.force_recapture) idle.clear();
    const auto found = std::find_if(idle.begin(), idle.end(), [&](const auto& slot) {
      return slot->stream == stream && slot->program == runner.program_;
    });
    if (found != idle.end()) {
      slot_ = std::move(*found);
      idle.erase(found);
      return;
    }
    slot_ = std::make_unique<Slot>();
    slot_->program = runner.program_;
    slot_->stream = stream;
    const RunnerOptions& options = runner.options_;
    slot_->context = std::make_unique<Context>(
        runner.program_, runtime::ContextOptions{options.capture_limit, stream,
                                                 pool_arena(options.graph_pool, stream),
                                                 options.reuse_pool, !runner.place_.is_cpu()});
    slot_->inputs.resize(runner.graph_.inputs().size());
    slot_->extents.resize(runner.graph_.inputs().size());
    slot_->outputs.resize(runner.graph_.outputs().size());
    slot_->staged.resize(runner.arguments_.size());
    slot_->temporaries.resize(runner.graph_.outputs().size());
    slot_->fresh.resize(runner.graph_.outputs().size());
    slot_->copies.resize(runner.arguments_.size());
    slot_->written.resize(runner.graph_.outputs().size());
  }
  ~Lease() { runner_.idle_.push_back(std::move(slot_)); }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  Slot& operator*() { return *slot_; }

 private:
  Runner& runner_;
  std::unique_ptr<Slot> slot_;
};

Runner::Runner(const GraphBuilder& builder, RunnerOptions options)
    : graph_(builder.graph().specialise({})),
      thread_limits_(builder.thread_limits()),
      options_(std::move(options)),
      place_(place_of(options_.device)) {
  if (options_.threads == 0) options_.threads = default_threads();
  living().push_back(this);
}

Runner::~Runner() { std::erase(living(), this); }

const std::vector<const Runner*>& Runner::all() { return living(); }

std::shared_ptr<device::Stream> Runner::stream() const {
  device::Device& device = program_->device();
  if (place_.is_cpu()) return thread_stream(device, limited_threads(options_.threads));
  return borrowed_stream(device, current_stream(place_));
}

std::vector<const runtime::Executable*> Runner::executables() const {
  std::vector<const runtime::Executable*> result;
  for (const auto& slot : idle_) {
    if (slot->executable != nullptr) result.push_back(slot->executable);
  }
  return result;
}

void Runner::take_input(const std::string& input, std::vector<size_t> order) {
  const size_t index = index_of(graph_.inputs(), input);
  arguments_.push_back({Kind::input, index, graph_.inputs()[index]->type, std::move(order)});
}

void Runner::take_constant(const std::string& constant, std::vector<size_t> order) {
  const size_t index = index_of(graph_.constants(), constant);
  arguments_.push_back({Kind::constant, index, graph_.constants()[index]->type, std::move(order)});
}

void Runner::take_number(const std::string& input) {
  const size_t index = index_of(graph_.inputs(), input);
  arguments_.push_back({Kind::number, index, graph_.inputs()[index]->type, {}});
}

void Runner::take_symbol(std::string name) {
  arguments_.push_back({Kind::symbol, given_symbols_.size(), {}, {}});
  given_symbols_.push_back(std::move(name));
}

void Runner::take_unused() { arguments_.emplace_back(); }

void Runner::give_output(size_t output) {
  results_.push_back({ResultKind::output, output, {}, {}, 0});
}

void Runner::give_view_of_output(size_t output, nb::handle sizes, nb::handle strides,
                                 nb::handle offset) {
  results_.push_back(
      {ResultKind::output_view, output, shape_of(sizes), shape_of(strides), dim_of(offset)});
}

void Runner::give_view_of_argument(size_t argument, nb::handle sizes, nb::handle strides,
                                   nb::handle offset) {
  results_.push_back(
      {ResultKind::argument_view, argument, shape_of(sizes), shape_of(strides), dim_of(offset)});
}

void Runner::give_argument(size_t argument) {
  results_.push_back({ResultKind::argument, argument, {}, {}, 0});
}

void Runner::give_dim(nb::handle dim) {
  results_.push_back({ResultKind::dim, 0, {}, {}, dim_of(dim)});
}

void Runner::give_none() { results_.emplace_back(); }

void Runner::write_back(size_t output, size_t argument) { writes_.push_back({output, argument}); }

void Runner::describe_symbols() {
  std::vector<std::string> symbols = graph_.symbols();
  for (const Result& result : results_) {
    for (const Dim& dim : result.sizes) dim.collect_symbols(symbols);
    for (const Dim& dim : result.strides) dim.collect_symbols(symbols);
    result.offset.collect_symbols(symbols);
  }
  std::map<std::string, size_t> positions;  // in the list of all inputs' sizes
  size_t position = 0;
  for (const Argument& argument : arguments_) {
    if (argument.kind == Kind::symbol) {
      positions.emplace(given_symbols_[argument.index], position++);
    }
    if (argument.kind != Kind::input) continue;
    for (size_t d = argument.type.shape.size(); d-- > 0; ++position) {
      const Dim& dim = argument.type.shape[d];
      std::vector<std::string> names;
      dim.collect_symbols(names);
      if (names.size() == 1 && dim == Dim::symbol(names[0])) positions.emplace(names[0], position);
    }
  }
  for (const std::string& symbol : symbols) {
    const auto found = positions.find(symbol);
    if (found == positions.end()) {
      fail(ErrorCode::unsupported, kStage, "Compile with dynamic=False.",
           "no argument tells the size '{}'", symbol);
    }
    sources_.push_back({symbol, found->second});
  }
  temporary_.assign(graph_.outputs().size(), true);
  for (const Result& result : results_) {
    if (result.kind == ResultKind::output || result.kind == ResultKind::output_view) {
      temporary_.at(result.index) = false;
    }
  }
  described_ = true;
}

bool Runner::constants_changed(PyObject* arguments) const {
  if (program_ == nullptr) return true;
  size_t next = 0;
  for (size_t i = 0; i < arguments_.size(); ++i) {
    if (arguments_[i].kind != Kind::constant) continue;
    PyObject* object = PyList_GetItem(arguments, static_cast<Py_ssize_t>(i));
    const Constant& known = constants_[next++];
    if (view_of(object).data != known.data) {
      if (!options_.frozen_parameters) return true;
      nb::dict details = details_of({});
      details["argument"] = i;
      tell("moved", details);
      return true;
    }
    if (!options_.frozen_parameters && version_of(object) != known.version) return true;
  }
  return false;
}

void Runner::read_constants(PyObject* arguments) {
  constants_.clear();
  for (size_t i = 0; i < arguments_.size(); ++i) {
    const Argument& argument = arguments_[i];
    if (argument.kind != Kind::constant) continue;
    PyObject* object = PyList_GetItem(arguments, static_cast<Py_ssize_t>(i));
    Slot slot;  // for the one tensor
    slot.staged.resize(arguments_.size());
    slot.copies.resize(arguments_.size());
    slot.inputs.resize(1);
    slot.extents.resize(1);
    read_tensor(slot, argument, i, object);
    std::reverse(slot.next_sizes.begin(), slot.next_sizes.end());
    if (const auto sizes = to_integers(argument.type.shape); slot.next_sizes != sizes) {
      fail(ErrorCode::invalid_argument, kStage, "Compile again for such a parameter.",
           "expected ({}) in memory order for the parameter '{}', got ({})", fmt::join(sizes, ", "),
           graph_.constants()[argument.index]->name, fmt::join(slot.next_sizes, ", "));
    }
    Constant constant{view_of(object).data, version_of(object), slot.staged[i]};
    if (!place_.is_cpu()) {
      PyObject* copy = slot.copies[i].ptr();
      constant.on_device = {owner_of(copy != nullptr ? copy : object), slot.inputs[0]};
    } else if (!constant.tensor.defined()) {
      constant.tensor = Tensor::borrow(slot.inputs[0], argument.type.dtype,
                                       to_integers(argument.type.shape), owner_of(object));
    }
    constants_.push_back(std::move(constant));
  }
}

void Runner::make_program() {
  ir::Graph graph = graph_.specialise({});
  size_t next = 0;
  for (const Argument& argument : arguments_) {
    if (argument.kind == Kind::constant) {
      const Constant& constant = constants_[next++];
      graph.constants()[argument.index]->data = constant.tensor;
      graph.constants()[argument.index]->on_device = constant.on_device;
    }
  }
  std::shared_ptr<const Program> program;
  // Parameters that change, as in training, would fill the disk.
  const bool keeps = options_.packed_cache && statistics_.programs == 0;
  const auto cache = keeps ? packed_cache() : nullptr;
  // Of the program alone, as other threads may come to need it.
  std::shared_ptr<device::Stream> own;
  if (!place_.is_cpu()) own = device::get(options_.device).borrow_stream(current_stream(place_));
  {
    const nb::gil_scoped_release release;
    runtime::ProgramOptions options{options_.mode, options_.threads, options_.passes_off};
    options.in_place = options_.in_place;
    options.cat_in_place = options_.cat_in_place;
    options.donations = donations();
    options.thread_limits = thread_limits_;
    options.specialise = options_.specialise;
    options.packed_cache = cache;
    options.stream = own;
    program = std::make_shared<const Program>(std::move(graph), device::get(options_.device),
                                              std::move(options));
  }
  program_ = std::move(program);
  idle_.clear();
  ++statistics_.programs;
  statistics_.passes_ms += program_->passes_ms();
}

void Runner::prepare(Slot& slot) {
  if (slot.executable == nullptr || slot.next_sizes != slot.sizes) {
    slot.executable = nullptr;
    bind(slot);
    slot.executable = &slot.context->prepare(slot.bindings);
    slot.sizes = slot.next_sizes;
  }
  const auto& types = slot.executable->outputs();
  for (size_t i = 0; i < types.size(); ++i) {
    std::vector<int64_t> sizes = to_integers(types[i].shape);
    if (slot.executable->plan().in_input[i]) {
      slot.outputs[i] = nullptr;
    } else if (temporary_[i] && place_.is_cpu()) {
      Tensor& memory = slot.temporaries[i];
      if (!memory.defined() || memory.shape() != sizes) {
        memory = Tensor::empty(types[i].dtype, std::move(sizes));
      }
      slot.outputs[i] = memory.data();
    } else {
      slot.fresh[i].emplace(types[i].dtype, sizes, place_);
      slot.outputs[i] = slot.fresh[i]->data();
    }
  }
}

nb::list Runner::operator()(nb::list arguments) {
  if (arguments.size() != arguments_.size()) {
    fail(ErrorCode::invalid_argument, kStage, "Give every argument once.",
         "expected {} arguments, got {}", arguments_.size(), arguments.size());
  }
  if (!described_) describe_symbols();
  const auto current = place_.is_cpu() ? nullptr : device::get(options_.device).keep_current();
  if (constants_changed(arguments.ptr())) {
    read_constants(arguments.ptr());
    make_program();
  }
  Lease lease(*this);
  Slot& slot = *lease;
  read_inputs(slot, arguments.ptr());
  const runtime::Counters before = slot.context->counters();
  const bool keep = slot.kept.is_valid() && slot.sizes == slot.next_sizes;
  if (!keep && !try_prepare(slot)) return nb::list(fallback_(arguments));
  count(slot, before);
  {
    const nb::gil_scoped_release release;
    (*slot.executable)({slot.inputs, slot.outputs});
  }
  finish_writes(slot, arguments.ptr());
  if (keep) return nb::list(slot.kept);
  nb::list list = results(slot, arguments.ptr());
  if (options_.zero_copy) slot.kept = nb::tuple(list);
  return list;
}

/// False where the shape cannot be captured, and PyTorch is to run the call.
bool Runner::try_prepare(Slot& slot) {
  try {
    const nb::gil_scoped_release release;
    prepare(slot);
    return true;
  } catch (const Error& error) {
    slot.executable = nullptr;
    if (!fallback_.is_valid() || error.code() == ErrorCode::interrupted ||
        error.code() == ErrorCode::invalid_argument) {
      throw;
    }
    nb::dict details = details_of(slot.bindings);
    details["reason"] = error.message();
    tell("failed", details);
    return false;
  }
}

nb::dict Runner::details_of(const ir::Bindings& bindings) const {
  nb::dict sizes, details;
  for (const auto& [name, size] : bindings) sizes[name.c_str()] = size;
  details["graph"] = graph_.name;
  details["sizes"] = sizes;
  details["strict"] = options_.strict;
  return details;
}

void Runner::count(Slot& slot, const runtime::Counters& before) {
  const runtime::Counters& after = slot.context->counters();
  if (after.captures == before.captures) return;
  const size_t evicted = after.evictions - before.evictions;
  slot.arenas.insert(slot.executable->arena());
  statistics_.arenas = std::max(statistics_.arenas, slot.arenas.size());
  const runtime::Phases& phases = slot.executable->phases();
  if (options_.force_recapture && statistics_.captures > 0) ++statistics_.recaptures;
  ++statistics_.captures;
  statistics_.evictions += evicted;
  statistics_.steps = slot.executable->plan().steps.size();
  statistics_.plan_ms += phases.plan_ms;
  statistics_.pack_ms += phases.pack_ms;
  statistics_.capture_ms += phases.capture_ms;
  nb::dict details = details_of(slot.bindings);
  details["plan_ms"] = phases.plan_ms;
  details["pack_ms"] = phases.pack_ms;
  details["capture_ms"] = phases.capture_ms;
  details["arena_bytes"] = slot.executable->plan().arena_bytes;
  details["captures"] = statistics_.captures;
  details["recaptures"] = statistics_.recaptures;
  tell("captured", details);
  if (evicted == 0) return;
  details["limit"] = options_.capture_limit;
  tell("evicted", details);
}

std::string Runner::program_text() const {
  return program_ == nullptr ? "" : ir::print(program_->graph());
}

}  // namespace ostinato::python
