#include "runner.h"

#include <algorithm>
#include <map>

#include "ostinato/base/error.h"
#include "ostinato/base/threads.h"
#include "ostinato/ir/text.h"
#include "streams.h"

namespace ostinato::python {

namespace nb = nanobind;
using ir::Dim;
using runtime::Context;
using runtime::Program;

namespace {

constexpr std::string_view kStage = "python/runner";

std::vector<int64_t> row_major(const std::vector<int64_t>& sizes) {
  return ir::Layout::contiguous(sizes).strides;
}

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

nb::tuple tuple_of(const ir::Shape& shape, const ir::Bindings& bindings) {
  nb::list items;
  for (const Dim& dim : shape) items.append(dim.evaluate(bindings));
  return nb::tuple(items);
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

struct Runner::Slot {
  std::shared_ptr<const Program> program;
  std::shared_ptr<device::Stream> stream;
  std::unique_ptr<Context> context;
  runtime::Executable* executable = nullptr;
  std::vector<int64_t> sizes;       // of all inputs and symbols, as the executable is made for
  std::vector<int64_t> next_sizes;  // of the call at hand
  ir::Bindings bindings;            // under which the inputs have `sizes`
  std::vector<void*> inputs, outputs;
  std::vector<Tensor> staged;                   // by argument: dense copies of those that are not
  std::vector<Tensor> temporaries;              // by output: what is written back
  std::vector<std::optional<NewTensor>> fresh;  // by output
  nb::object kept;                              // with zero_copy: the list of results for `sizes`
};

/// Takes an idle slot of the calling thread's, or makes one, and gives it back. Under the GIL.
class Runner::Lease {
 public:
  explicit Lease(Runner& runner) : runner_(runner) {
    const auto stream = thread_stream(device::get(runner.options_.device), runner.options_.threads);
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
    slot_->context = std::make_unique<Context>(
        runner.program_, runtime::ContextOptions{runner.options_.capture_limit, stream});
    slot_->inputs.resize(runner.graph_.inputs().size());
    slot_->outputs.resize(runner.graph_.outputs().size());
    slot_->staged.resize(runner.arguments_.size());
    slot_->temporaries.resize(runner.graph_.outputs().size());
    slot_->fresh.resize(runner.graph_.outputs().size());
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
    : graph_(builder.graph().specialise({})), options_(std::move(options)) {
  if (options_.threads == 0) options_.threads = default_threads();
  living().push_back(this);
}

Runner::~Runner() { std::erase(living(), this); }

const std::vector<const Runner*>& Runner::all() { return living(); }

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

bool Runner::constants_changed(PyObject* arguments) {
  if (program_ == nullptr) return true;
  if (options_.frozen_parameters) return false;
  size_t next = 0;
  for (size_t i = 0; i < arguments_.size(); ++i) {
    if (arguments_[i].kind != Kind::constant) continue;
    PyObject* object = PyList_GetItem(arguments, static_cast<Py_ssize_t>(i));
    const Constant& known = constants_[next++];
    if (view_of(object).data != known.data || version_of(object) != known.version) return true;
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
    slot.inputs.resize(1);
    read_tensor(slot, argument, i, object);
    std::reverse(slot.next_sizes.begin(), slot.next_sizes.end());
    if (const auto sizes = to_integers(argument.type.shape); slot.next_sizes != sizes) {
      fail(ErrorCode::invalid_argument, kStage, "Compile again for such a parameter.",
           "expected ({}) in memory order for the parameter '{}', got ({})", fmt::join(sizes, ", "),
           graph_.constants()[argument.index]->name, fmt::join(slot.next_sizes, ", "));
    }
    Constant constant{view_of(object).data, version_of(object), slot.staged[i]};
    if (!constant.tensor.defined()) {
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
      graph.constants()[argument.index]->data = constants_[next++].tensor;
    }
  }
  std::shared_ptr<const Program> program;
  {
    const nb::gil_scoped_release release;
    program = std::make_shared<const Program>(
        std::move(graph), device::get(options_.device),
        runtime::ProgramOptions{options_.mode, options_.threads, options_.passes_off});
  }
  program_ = std::move(program);
  idle_.clear();
  ++statistics_.programs;
  statistics_.passes_ms += program_->passes_ms();
}

/// The address of a tensor's elements in memory order: its own, or of a dense copy.
void Runner::read_tensor(Slot& slot, const Argument& argument, size_t index,
                         PyObject* tensor) const {
  const TensorView view = view_of(tensor);
  const auto wrong = [&](const std::string& what, const std::string& expected,
                         const std::string& got) {
    fail(ErrorCode::invalid_argument, kStage, "Compile again for such an argument.",
         "expected {} {} for argument {}, got {}", what, expected, index, got);
  };
  if (!view.on_cpu) wrong("device", "cpu", "another");
  if (view.dtype != argument.type.dtype) {
    wrong("dtype", std::string(name_of(argument.type.dtype)),
          view.dtype ? std::string(name_of(*view.dtype)) : "another");
  }
  const size_t rank = argument.type.shape.size();
  if (view.rank != rank) wrong("rank", std::to_string(rank), std::to_string(view.rank));
  bool dense = true, empty = false;
  int64_t stride = 1;
  for (size_t d = rank; d-- > 0;) {
    const size_t logical = argument.order.empty() ? d : argument.order[d];
    const int64_t size = view.sizes[logical];
    slot.next_sizes.push_back(size);
    if (size != 1 && view.strides[logical] != stride) dense = false;
    stride *= size;
    empty = empty || size == 0;
  }
  const size_t slot_index = argument.kind == Kind::input ? argument.index : 0;
  slot.inputs[slot_index] = view.data;
  if (dense || empty) return;
  std::vector<int64_t> sizes, strides;
  for (size_t d = 0; d < rank; ++d) {
    const size_t logical = argument.order.empty() ? d : argument.order[d];
    sizes.push_back(view.sizes[logical]);
    strides.push_back(view.strides[logical]);
  }
  Tensor& copy = slot.staged[index];
  if (!copy.defined() || copy.shape() != sizes) copy = Tensor::empty(argument.type.dtype, sizes);
  copy_strided(copy.data(), row_major(sizes).data(), view.data, strides.data(), sizes.data(), rank,
               size_of(argument.type.dtype));
  slot.inputs[slot_index] = copy.data();
}

void Runner::read_number(Slot& slot, size_t index, PyObject* tensor) const {
  const TensorView view = view_of(tensor);
  if (!view.is_float64 || view.rank != 0) {
    fail(ErrorCode::invalid_argument, kStage, "Compile again for such an argument.",
         "expected a float for argument {}, got a tensor", index);
  }
  Tensor& number = slot.staged[index];
  if (!number.defined()) number = Tensor::empty(DType::float32, {});
  *number.as<float>() = static_cast<float>(*static_cast<const double*>(view.data));
  slot.inputs[arguments_[index].index] = number.data();
}

void Runner::read_inputs(Slot& slot, PyObject* arguments) const {
  slot.next_sizes.clear();
  for (size_t i = 0; i < arguments_.size(); ++i) {
    PyObject* object = PyList_GetItem(arguments, static_cast<Py_ssize_t>(i));
    switch (arguments_[i].kind) {
      case Kind::input: read_tensor(slot, arguments_[i], i, object); break;
      case Kind::number: read_number(slot, i, object); break;
      case Kind::symbol: slot.next_sizes.push_back(nb::cast<int64_t>(nb::handle(object))); break;
      case Kind::constant:
      case Kind::unused: break;
    }
  }
}

/// The symbols' values; throws for sizes that no values make.
void Runner::bind(Slot& slot) const {
  slot.bindings.clear();
  for (const SymbolSource& source : sources_) {
    slot.bindings[source.name] = slot.next_sizes[source.position];
  }
  size_t position = 0;
  for (size_t i = 0; i < arguments_.size(); ++i) {
    const Argument& argument = arguments_[i];
    if (argument.kind == Kind::symbol) ++position;
    if (argument.kind != Kind::input) continue;
    for (size_t d = argument.type.shape.size(); d-- > 0; ++position) {
      const int64_t expected = argument.type.shape[d].evaluate(slot.bindings);
      if (slot.next_sizes[position] == expected) continue;
      fail(ErrorCode::invalid_argument, kStage, "Compile again for such an argument.",
           "expected size {} in dim {} of argument {}, got {}", expected,
           argument.order.empty() ? d : argument.order[d], i, slot.next_sizes[position]);
    }
  }
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
    if (temporary_[i]) {
      Tensor& memory = slot.temporaries[i];
      if (!memory.defined() || memory.shape() != sizes) {
        memory = Tensor::empty(types[i].dtype, std::move(sizes));
      }
      slot.outputs[i] = memory.data();
    } else {
      slot.fresh[i].emplace(types[i].dtype, sizes);
      slot.outputs[i] = slot.fresh[i]->data();
    }
  }
}

nb::object Runner::view(const Result& result, nb::handle base, const ir::Bindings& bindings) const {
  int64_t offset = result.offset.evaluate(bindings);
  if (result.kind == ResultKind::argument_view) {
    offset += nb::cast<int64_t>(base.attr("storage_offset")());
  }
  return base.attr("as_strided")(tuple_of(result.sizes, bindings),
                                 tuple_of(result.strides, bindings), offset);
}

nb::list Runner::results(Slot& slot, PyObject* arguments) const {
  std::vector<nb::object> tensors(slot.fresh.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!slot.fresh[i]) continue;
    tensors[i] = slot.fresh[i]->release();
    slot.fresh[i].reset();
  }
  nb::list list;
  for (const Result& result : results_) {
    switch (result.kind) {
      case ResultKind::output: list.append(tensors[result.index]); break;
      case ResultKind::output_view:
        list.append(view(result, tensors[result.index], slot.bindings));
        break;
      case ResultKind::argument:
        list.append(nb::borrow(PyList_GetItem(arguments, static_cast<Py_ssize_t>(result.index))));
        break;
      case ResultKind::argument_view: {
        PyObject* base = PyList_GetItem(arguments, static_cast<Py_ssize_t>(result.index));
        list.append(view(result, base, slot.bindings));
        break;
      }
      case ResultKind::dim: list.append(result.offset.evaluate(slot.bindings)); break;
      case ResultKind::none: list.append(nb::none()); break;
    }
  }
  return list;
}

void Runner::finish_writes(Slot& slot, PyObject* arguments) const {
  if (writes_.empty()) return;
  nb::list written;
  for (const Write& write : writes_) {
    PyObject* object = PyList_GetItem(arguments, static_cast<Py_ssize_t>(write.argument));
    const TensorView target = view_of(object);
    const std::vector<int64_t> sizes(target.sizes, target.sizes + target.rank);
    copy_strided(target.data, target.strides, slot.outputs[write.output], row_major(sizes).data(),
                 sizes.data(), target.rank, size_of(*target.dtype));
    written.append(nb::borrow(object));
  }
  tell_written(written);
}

nb::list Runner::operator()(nb::list arguments) {
  if (arguments.size() != arguments_.size()) {
    fail(ErrorCode::invalid_argument, kStage, "Give every argument once.",
         "expected {} arguments, got {}", arguments_.size(), arguments.size());
  }
  if (!described_) describe_symbols();
  if (constants_changed(arguments.ptr())) {
    read_constants(arguments.ptr());
    make_program();
  }
  Lease lease(*this);
  Slot& slot = *lease;
  read_inputs(slot, arguments.ptr());
  const runtime::Counters before = slot.context->counters();
  const bool keep = slot.kept.is_valid() && slot.sizes == slot.next_sizes;
  {
    const nb::gil_scoped_release release;
    if (!keep) prepare(slot);
    (*slot.executable)({slot.inputs, slot.outputs});
  }
  count(slot, before);
  finish_writes(slot, arguments.ptr());
  if (keep) return nb::list(slot.kept);
  nb::list list = results(slot, arguments.ptr());
  if (options_.zero_copy) slot.kept = nb::tuple(list);
  return list;
}

void Runner::count(const Slot& slot, const runtime::Counters& before) {
  const runtime::Counters& after = slot.context->counters();
  if (after.captures == before.captures) return;
  statistics_.captures += after.captures - before.captures;
  statistics_.evictions += after.evictions - before.evictions;
  const runtime::Phases& phases = slot.executable->phases();
  statistics_.plan_ms += phases.plan_ms;
  statistics_.pack_ms += phases.pack_ms;
  statistics_.capture_ms += phases.capture_ms;
}

std::string Runner::program_text() const {
  return program_ == nullptr ? "" : ir::print(program_->graph());
}

}  // namespace ostinato::python
