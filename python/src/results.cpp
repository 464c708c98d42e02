#include "slot.h"

/// What a runner gives back, and what it writes to arguments.
namespace ostinato::python {

namespace nb = nanobind;

using ir::Dim;

namespace {

size_t write_bytes(const std::vector<int64_t>& sizes, DType dtype) {
  size_t bytes = size_of(dtype);
  for (int64_t size : sizes) bytes *= static_cast<size_t>(size);
  return bytes;
}

nb::tuple tuple_of(const ir::Shape& shape, const ir::Bindings& bindings) {
  nb::list items;
  for (const Dim& dim : shape) items.append(dim.evaluate(bindings));
  return nb::tuple(items);
}

}  // namespace

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
    tensors[i] = slot.written[i];
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

/// Makes PyTorch copy an output to the argument, which counts the write.
void Runner::write_on_device(Slot& slot, const Write& write, const nb::object& argument) {
  if (slot.outputs[write.output] == nullptr) {  // it stands in the copy of the argument
    argument.attr("copy_")(slot.copies[write.argument]);
    return;
  }
  if (slot.fresh[write.output]) {
    slot.written[write.output] = slot.fresh[write.output]->release();
    slot.fresh[write.output].reset();
  }
  argument.attr("copy_")(slot.written[write.output]);
}

void Runner::finish_writes(Slot& slot, PyObject* arguments) {
  if (writes_.empty()) return;
  nb::list written;
  for (const Write& write : writes_) {
    PyObject* object = PyList_GetItem(arguments, static_cast<Py_ssize_t>(write.argument));
    const TensorView target = view_of(object);
    const void* source = slot.outputs[write.output];
    if (source == nullptr) source = slot.inputs[arguments_[write.argument].index];
    if (!place_.is_cpu()) {
      if (source != target.data) {
        write_on_device(slot, write, nb::borrow(object));
        statistics_.written_back += write_bytes(
            std::vector<int64_t>(target.sizes, target.sizes + target.rank), *target.dtype);
        continue;
      }
    } else if (source != target.data) {
      const std::vector<int64_t> sizes(target.sizes, target.sizes + target.rank);
      copy_strided(target.data, target.strides, source,
                   ir::Layout::contiguous(sizes).strides.data(), sizes.data(), target.rank,
                   size_of(*target.dtype));
      statistics_.written_back += write_bytes(sizes, *target.dtype);
    }
    written.append(nb::borrow(object));
  }
  tell_written(written);
}

}  // namespace ostinato::python
