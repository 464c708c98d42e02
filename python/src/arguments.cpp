#include <algorithm>
#include <cstring>

#include "ostinato/base/error.h"
#include "slot.h"

/// What a runner does with the arguments of a call.
namespace ostinato::python {

namespace nb = nanobind;

namespace {

constexpr std::string_view kStage = "python/runner";
constexpr uintptr_t kKernelAlignment = 16;  // bytes, that kernels on a GPU read at once

}  // namespace

/// The address of a tensor's elements in memory order: its own, or of a dense copy.
void Runner::read_tensor(Slot& slot, const Argument& argument, size_t index,
                         PyObject* tensor) const {
  const TensorView view = view_of(tensor);
  const auto wrong = [&](const std::string& what, const std::string& expected,
                         const std::string& got) {
    fail(ErrorCode::invalid_argument, kStage, "Compile again for such an argument.",
         "expected {} {} for argument {}, got {}", what, expected, index, got);
  };
  if (view.place != place_) {
    fail(ErrorCode::invalid_argument, kStage,
         "Move it there, as by tensor.to(device), or compile again with the model elsewhere.",
         "expected argument {} on the device {}, got it on {}", index, place_.name(),
         view.place.name());
  }
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
  slot.extents[slot_index] = static_cast<size_t>(stride) * size_of(argument.type.dtype);
  if (!place_.is_cpu()) {
    const bool aligned = reinterpret_cast<uintptr_t>(view.data) % kKernelAlignment == 0;
    if (!empty && !(dense && aligned)) copy_on_device(slot, argument, index, tensor);
    return;
  }
  if (dense || empty) return;
  std::vector<int64_t> sizes, strides;
  for (size_t d = 0; d < rank; ++d) {
    const size_t logical = argument.order.empty() ? d : argument.order[d];
    sizes.push_back(view.sizes[logical]);
    strides.push_back(view.strides[logical]);
  }
  Tensor& copy = slot.staged[index];
  if (!copy.defined() || copy.shape() != sizes) copy = Tensor::empty(argument.type.dtype, sizes);
  copy_strided(copy.data(), ir::Layout::contiguous(sizes).strides.data(), view.data, strides.data(),
               sizes.data(), rank, size_of(argument.type.dtype));
  slot.inputs[slot_index] = copy.data();
}

/// Makes PyTorch copy an argument, and reads the copy.
void Runner::copy_on_device(Slot& slot, const Argument& argument, size_t index,
                            PyObject* tensor) const {
  slot.copies[index] = dense_copy(tensor, argument.order);
  slot.inputs[argument.kind == Kind::input ? argument.index : 0] =
      view_of(slot.copies[index].ptr()).data;
}

void Runner::read_number(Slot& slot, size_t index, PyObject* tensor) const {
  const TensorView view = view_of(tensor);
  if (!view.is_float64 || view.rank != 0 || !view.place.is_cpu()) {
    fail(ErrorCode::invalid_argument, kStage, "Compile again for such an argument.",
         "expected a float for argument {}, got a tensor", index);
  }
  slot.extents[arguments_[index].index] = sizeof(float);
  if (!place_.is_cpu()) {
    nb::object number = NewTensor(DType::float32, {}, place_).release();
    number.attr("fill_")(*static_cast<const double*>(view.data));
    slot.inputs[arguments_[index].index] = view_of(number.ptr()).data;
    slot.copies[index] = std::move(number);
    return;
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
  keep_apart(slot, arguments);
}

/// The outputs that are written back to an argument and go nowhere else, each with its input.
std::vector<plan::Donation> Runner::donations() const {
  std::vector<plan::Donation> pairs;
  if (!options_.input_in_place) return pairs;
  for (const Write& write : writes_) {
    const Argument& argument = arguments_[write.argument];
    const bool taken = std::any_of(pairs.begin(), pairs.end(), [&](const auto& pair) {
      return pair.output == write.output || pair.input == argument.index;
    });
    if (argument.kind == Kind::input && temporary_[write.output] && !taken) {
      pairs.push_back({write.output, argument.index});
    }
  }
  return pairs;
}

/// Copies an input that may be written over, where its memory overlaps another's: the other is to
/// be read as it was.
void Runner::keep_apart(Slot& slot, PyObject* arguments) const {
  const auto& donations = slot.program->options().donations;
  if (donations.empty() || (slot.inputs == slot.apart && slot.next_sizes == slot.sizes)) return;
  bool overlap = false;
  for (const plan::Donation& donation : donations) {
    const auto* begin = static_cast<const char*>(slot.inputs[donation.input]);
    const char* end = begin + slot.extents[donation.input];
    for (size_t i = 0; i < slot.inputs.size(); ++i) {
      const auto* other = static_cast<const char*>(slot.inputs[i]);
      if (i == donation.input || other >= end || other + slot.extents[i] <= begin) continue;
      const auto argument =
          std::find_if(arguments_.begin(), arguments_.end(), [&](const Argument& candidate) {
            return candidate.kind == Kind::input && candidate.index == donation.input;
          });
      const auto index = static_cast<size_t>(argument - arguments_.begin());
      overlap = true;
      if (!place_.is_cpu()) {
        PyObject* object = PyList_GetItem(arguments, static_cast<Py_ssize_t>(index));
        copy_on_device(slot, *argument, index, object);
        break;
      }
      Tensor& copy = slot.staged[index];
      copy = Tensor::empty(DType::uint8, {static_cast<int64_t>(slot.extents[donation.input])});
      std::memcpy(copy.data(), begin, slot.extents[donation.input]);
      slot.inputs[donation.input] = copy.data();
      break;
    }
  }
  slot.apart = overlap ? std::vector<void*>() : slot.inputs;
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

}  // namespace ostinato::python
