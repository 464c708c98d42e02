#include "graph.h"

#include <nanobind/operators.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>

#include "ostinato/base/error.h"
#include "ostinato/ir/builder.h"
#include "ostinato/ir/text.h"
#include "ostinato/ops/ops.h"
#include "tensors.h"

namespace ostinato::python {

namespace nb = nanobind;
using ir::Attribute;
using ir::AttrKind;
using ir::Dim;
using ir::OperandKind;
using ir::Value;

namespace {

constexpr std::string_view kStage = "import/fx";
constexpr std::string_view kConvert = "prims.convert_element_type";

// What rows leave out because it changes no value (ops.h).
constexpr std::array<std::string_view, 5> kNoValue = {"layout", "device", "pin_memory",
                                                      "memory_format", "non_blocking"};

bool is_number(nb::handle value) {
  return nb::isinstance<Dim>(value) || PyBool_Check(value.ptr()) || PyLong_Check(value.ptr()) ||
         PyFloat_Check(value.ptr());
}

[[noreturn]] void refuse(std::string_view op, std::string_view name, nb::handle value) {
  fail(ErrorCode::unsupported, fmt::format("{}/{}", kStage, op),
       "The operator runs in PyTorch meanwhile.", "cannot take {} as the argument '{}'",
       nb::cast<std::string>(nb::repr(value)), name);
}

Attribute attribute_of(std::string_view op, const ir::AttrSpec& spec, nb::handle value) {
  PyObject* object = value.ptr();
  if (value.is_none()) return {};
  if (PyBool_Check(object)) return object == Py_True;
  if (PyFloat_Check(object)) return PyFloat_AsDouble(object);
  if (PyLong_Check(object) || nb::isinstance<Dim>(value)) return dim_of(value);
  if (PyUnicode_Check(object)) {
    auto text = nb::cast<std::string>(value);
    if (spec.kind == AttrKind::dtype) return dtype_of(text);
    return text;
  }
  if (PyList_Check(object) || PyTuple_Check(object)) return shape_of(value);
  refuse(op, spec.name, value);
}

// The dtype that a number takes beside tensors: theirs, unless it is of a higher category.
DType number_dtype(nb::handle number, nb::dict arguments) {
  std::optional<DType> beside;
  for (const auto& [name, value] : arguments) {
    if (nb::isinstance<Value>(value)) beside = nb::cast<const Value*>(value)->dtype();
  }
  if (nb::isinstance<Dim>(number)) {
    fail(ErrorCode::unsupported, kStage, "The operator runs in PyTorch meanwhile.",
         "cannot take a symbolic number as a tensor");
  }
  if (PyFloat_Check(number.ptr())) return beside && is_floating(*beside) ? *beside : DType::float32;
  if (PyBool_Check(number.ptr())) return beside.value_or(DType::boolean);
  return beside && *beside != DType::boolean ? *beside : DType::int64;
}

Tensor scalar_tensor(nb::handle number, DType dtype) {
  if (is_floating(dtype)) {
    Tensor wide = Tensor::empty(DType::float32, {});
    *wide.as<float>() = static_cast<float>(nb::cast<double>(nb::float_(number)));
    return wide.to(dtype);
  }
  if (dtype == DType::boolean) {
    Tensor result = Tensor::empty(dtype, {});
    *result.as<bool>() = PyObject_IsTrue(number.ptr()) == 1;
    return result;
  }
  Tensor wide = Tensor::empty(DType::int64, {});
  *wide.as<int64_t>() = nb::cast<int64_t>(nb::int_(number));
  return wide.to(dtype);
}

}  // namespace

Dim dim_of(nb::handle value) {
  if (nb::isinstance<Dim>(value)) return nb::cast<Dim>(value);
  int64_t integer = 0;
  if (PyLong_Check(value.ptr()) && nb::try_cast(value, integer)) return integer;
  fail(ErrorCode::invalid_argument, kStage, "Give an int of 64 bits or a Dim.",
       "expected a size, got {}", nb::cast<std::string>(nb::repr(value)));
}

ir::Shape shape_of(nb::handle values) {
  ir::Shape shape;
  for (nb::handle value : values) shape.push_back(dim_of(value));
  return shape;
}

GraphBuilder GraphBuilder::parse(const std::string& text, const std::vector<Stored>& stored) {
  ir::Graph graph = ir::parse(text, ops::table());
  for (const auto& [name, dtype, sizes, elements] : stored) {
    const auto& constants = graph.constants();
    const auto found = std::find_if(constants.begin(), constants.end(),
                                    [&](const Value* constant) { return constant->name == name; });
    const ir::ValueType type{dtype_of(dtype), ir::Shape(sizes.begin(), sizes.end())};
    Tensor data = Tensor::empty(type.dtype, sizes);
    if (found == constants.end() || (*found)->type != type || elements.size() != data.bytes()) {
      fail(ErrorCode::corrupt, kStage, "Compile anew.",
           "expected the graph to have a constant '{}' of {} in {} bytes", name,
           ir::to_string(type), elements.size());
    }
    std::memcpy(data.data(), elements.c_str(), elements.size());
    (*found)->data = std::move(data);
  }
  return GraphBuilder(std::move(graph));
}

std::string GraphBuilder::text() const { return ir::print(graph_); }

std::vector<GraphBuilder::Stored> GraphBuilder::stored() const {
  std::vector<Stored> result;
  for (const auto& [name, constant] : ir::external_constants(graph_)) {
    const Tensor& data = constant->data;
    if (constant->on_device != nullptr) {
      fail(ErrorCode::unsupported, kStage, "Give it as an argument.",
           "cannot store the constant '{}', which lies on the device", name);
    }
    if (!data.defined()) continue;
    result.emplace_back(name, std::string(name_of(data.dtype())), data.shape(),
                        nb::bytes(data.data(), data.bytes()));
  }
  return result;
}

Value* GraphBuilder::add_input(std::string name, const std::string& dtype, nb::handle shape) {
  return graph_.add_input(std::move(name), {dtype_of(dtype), shape_of(shape)});
}

Value* GraphBuilder::add_constant(std::string name, const std::string& dtype, nb::handle shape) {
  return graph_.add_constant(std::move(name), {dtype_of(dtype), shape_of(shape)});
}

Value* GraphBuilder::add_tensor(std::string name, nb::handle tensor) {
  const TensorView view = view_of(tensor.ptr());
  if (!view.dtype) {
    fail(ErrorCode::unsupported, kStage, "Use a dtype of the engine.",
         "cannot take the tensor '{}'", name);
  }
  const std::vector<int64_t> sizes(view.sizes, view.sizes + view.rank);
  const ir::ValueType type{*view.dtype, {sizes.begin(), sizes.end()}};
  if (!view.place.is_cpu()) {
    const nb::object copy = dense_copy(tensor.ptr(), {});
    Value* value = graph_.add_constant(std::move(name), type);
    value->on_device = {owner_of(copy.ptr()), view_of(copy.ptr()).data};
    return value;
  }
  Tensor data = Tensor::empty(*view.dtype, sizes);
  copy_strided(data.data(), ir::Layout::contiguous(sizes).strides.data(), view.data, view.strides,
               sizes.data(), view.rank, size_of(*view.dtype));
  return graph_.add_constant(std::move(name), type, data);
}

Value* GraphBuilder::operand_of(nb::handle value, DType number_dtype) {
  if (value.is_none()) return nullptr;
  if (nb::isinstance<Value>(value)) return nb::cast<Value*>(value);
  Tensor data = scalar_tensor(value, number_dtype);
  return graph_.add_constant("", {data.dtype(), {}}, data);
}

bool GraphBuilder::take_scalar_overload(const ir::OpRow& op, nb::dict arguments,
                                        const std::string& source, std::vector<Value*>& results) {
  // `aten.add.Tensor(x, 2)` is `aten.add.Scalar(x, 2)`.
  std::string name(op.name);
  const size_t at = name.rfind("Tensor");
  if (at == std::string::npos) return false;
  name.replace(at, 6, "Scalar");
  const ir::OpRow* overload = ops::table().find(name);
  if (overload == nullptr || overload == &op) return false;
  for (const ir::OperandSpec& operand : overload->operands) {
    const nb::str key(operand.name.data(), operand.name.size());
    if (!arguments.contains(key) || is_number(arguments[key])) return false;
  }
  results = call(name, arguments, source);
  return true;
}

/// What the engine says in other words: conversions of the prims namespace, and writes under a
/// mask, whose indices would have a size that depends on data.
bool GraphBuilder::translate(const std::string& name, nb::dict arguments, const std::string& source,
                             std::vector<Value*>& results) {
  if (name == kConvert) {
    nb::dict renamed;
    renamed["self"] = arguments["a"];
    renamed["dtype"] = arguments["dtype"];
    results = call("aten._to_copy", renamed, source);
    return true;
  }
  if (name != "aten.index_put" || nb::len(nb::object(arguments["indices"])) != 1) return false;
  if (arguments.contains("accumulate") && nb::cast<bool>(arguments["accumulate"])) return false;
  Value *self = nullptr, *mask = nullptr, *values = nullptr;
  if (!nb::try_cast(arguments["self"], self) || !nb::try_cast(arguments["indices"][0], mask) ||
      !nb::try_cast(arguments["values"], values) || mask->dtype() != DType::boolean) {
    return false;
  }
  ir::Builder build(graph_, ops::table());
  build.set_source(source);
  const size_t rest = self->rank() - mask->rank();
  for (size_t i = 0; i < rest; ++i) mask = build("aten.unsqueeze", {mask}, {{"dim", -1}});
  const bool one_each = values->rank() == rest + 1 && !values->shape()[0].is(1);
  if (one_each) {
    results = {build("aten.masked_scatter", {self, mask, values})};
  } else {
    if (values->rank() > rest) values = build("aten.squeeze.dim", {values}, {{"dim", 0}});
    results = {build("aten.where.self", {mask, values, self})};
  }
  return true;
}

std::vector<Value*> GraphBuilder::call(const std::string& name, nb::dict arguments,
                                       const std::string& source, int threads) {
  const size_t before = graph_.nodes().size();
  std::vector<Value*> results = add_call(name, arguments, source);
  if (threads > 0) {
    // One call may have become several.
    auto node = graph_.nodes().rbegin();
    for (size_t i = graph_.nodes().size(); i > before; --i, ++node) {
      thread_limits_[(*node)->results[0]->id] = threads;
    }
  }
  return results;
}

std::vector<Value*> GraphBuilder::add_call(const std::string& name, nb::dict arguments,
                                           const std::string& source) {
  std::vector<Value*> translated;
  if (translate(name, arguments, source, translated)) return translated;
  const ir::OpRow& op = ops::table().at(name);
  std::vector<Value*> operands, results;
  std::vector<ir::NamedAttribute> attributes;
  const auto argument = [&](std::string_view key) -> nb::object {
    const nb::str text(key.data(), key.size());
    return arguments.contains(text) ? nb::object(arguments[text]) : nb::none();
  };
  for (const ir::OperandSpec& spec : op.operands) {
    const nb::object value = argument(spec.name);
    if (is_number(value) && take_scalar_overload(op, arguments, source, results)) return results;
  }
  for (const ir::OperandSpec& spec : op.operands) {
    const nb::object value = argument(spec.name);
    if (spec.kind == OperandKind::list || spec.kind == OperandKind::optional_list) {
      for (nb::handle item : value) operands.push_back(operand_of(item, DType::int64));
    } else if (value.is_none() || nb::isinstance<Value>(value)) {
      operands.push_back(operand_of(value, DType::float32));
    } else if (is_number(value)) {
      operands.push_back(operand_of(value, number_dtype(value, arguments)));
    } else {
      refuse(name, spec.name, value);
    }
  }
  for (const auto& [key, value] : arguments) {
    const auto text = nb::cast<std::string>(key);
    const auto same = [&](const auto& spec) { return spec.name == text; };
    if (std::any_of(op.operands.begin(), op.operands.end(), same)) continue;
    const auto spec = std::find_if(op.attributes.begin(), op.attributes.end(), same);
    if (spec != op.attributes.end()) {
      attributes.emplace_back(spec->name, attribute_of(name, *spec, value));
    } else if (!value.is_none() && std::count(kNoValue.begin(), kNoValue.end(), text) == 0) {
      refuse(name, text, value);
    }
  }
  ir::Node* node = graph_.add_node(op, std::move(operands), attributes);
  node->source = source;
  return node->results;
}

std::vector<std::string> GraphBuilder::output_names() const {
  std::vector<std::string> names;
  for (const ir::Output& output : graph_.outputs()) names.push_back(output.name);
  return names;
}

size_t GraphBuilder::add_output(Value* value) {
  graph_.add_output(fmt::format("output.{}", graph_.outputs().size()), value);
  return graph_.outputs().size() - 1;
}

namespace {

void bind_dim(nb::module_& module) {
  nb::class_<Dim>(module, "Dim", "A size: an integer, or an expression over named symbols.")
      .def(nb::init<int64_t>(), nb::arg("value"))
      .def_static("symbol", &Dim::symbol, nb::arg("name"), "The size of that name.")
      .def_static(
          "parse", [](const std::string& text) { return Dim::parse(text); }, nb::arg("text"),
          "Reads what repr gives.")
      .def(nb::self + nb::self)
      .def(nb::self - nb::self)
      .def(nb::self * nb::self)
      .def(nb::self == nb::self, nb::sig("def __eq__(self, other: object, /) -> bool"))
      .def("__hash__", [](const Dim& dim) { return std::hash<std::string>()(dim.str()); })
      .def("__floordiv__", [](const Dim& a, const Dim& b) { return floor_div(a, b); })
      .def("__mod__", [](const Dim& a, const Dim& b) { return mod(a, b); })
      .def(
          "max", [](const Dim& a, const Dim& b) { return max(a, b); }, "The larger of two sizes.")
      .def(
          "min", [](const Dim& a, const Dim& b) { return min(a, b); }, "The smaller of two sizes.")
      .def_prop_ro("is_constant", &Dim::is_constant, "Whether it is an integer.")
      .def(
          "evaluate",
          [](const Dim& dim, const std::map<std::string, int64_t>& symbols) {
            return dim.evaluate({symbols.begin(), symbols.end()});
          },
          nb::arg("symbols"), "The integer where the symbols have these values.")
      .def("__int__", &Dim::value)
      .def("__repr__", &Dim::str);
}

}  // namespace

void bind_graph(nb::module_& module) {
  bind_dim(module);
  nb::class_<Value>(module, "Value", "One result of a graph in the making.")
      .def_prop_ro(
          "dtype", [](const Value& value) { return std::string(name_of(value.dtype())); },
          "The name of its element type.")
      .def_prop_ro(
          "name", [](const Value& value) { return value.name; }, "Unique among its kind.")
      .def_prop_ro(
          "shape", [](const Value& value) { return value.shape(); }, "Its sizes, each a Dim.");
  nb::class_<GraphBuilder>(module, "Graph", "A graph in the making.")
      .def(nb::init<std::string>(), nb::arg("name"))
      .def("add_input", &GraphBuilder::add_input, nb::arg("name"), nb::arg("dtype"),
           nb::arg("shape"), nb::rv_policy::reference_internal, "A tensor that each call gives.")
      .def("add_constant", &GraphBuilder::add_constant, nb::arg("name"), nb::arg("dtype"),
           nb::arg("shape"), nb::rv_policy::reference_internal,
           "A tensor that stays the same over many calls, such as a parameter.")
      .def("add_tensor", &GraphBuilder::add_tensor, nb::arg("name"), nb::arg("tensor"),
           nb::rv_policy::reference_internal, "A tensor that never changes, copied.")
      .def("call", &GraphBuilder::call, nb::arg("op"), nb::arg("arguments"), nb::arg("source"),
           nb::arg("threads") = 0, nb::rv_policy::reference_internal,
           "The results of an operator, with arguments by the names of its ATen schema. Raises "
           "Error when the engine cannot take the call; nothing is added then.")
      .def("add_output", &GraphBuilder::add_output, nb::arg("value"),
           "Makes a value a result of the graph; returns its index.")
      .def_prop_ro(
          "node_count", [](const GraphBuilder& builder) { return builder.graph().nodes().size(); },
          "How many calls it has.")
      .def_prop_ro(
          "limits_threads",
          [](const GraphBuilder& builder) { return !builder.thread_limits().empty(); },
          "Whether some call may not use all threads; the text does not say so.")
      .def_static("parse", &GraphBuilder::parse, nb::arg("text"), nb::arg("stored"),
                  "The graph of a text, and of the constants whose elements are not in it.")
      .def_prop_ro("stored", &GraphBuilder::stored,
                   "The constants whose elements are not in the text: name, dtype, sizes, bytes.")
      .def_prop_ro("output_names", &GraphBuilder::output_names, "The outputs, in their order.")
      .def("__str__", &GraphBuilder::text);
  module.def(
      "has_op",
      [](const std::string& name) {
        return name == kConvert || ops::table().find(name) != nullptr;
      },
      nb::arg("name"), "Whether the engine has an operator of that name, such as aten.add.Tensor.");
  module.def(
      "op_names",
      [] {
        std::vector<std::string> names;
        for (const ir::OpRow* row : ops::table().rows()) names.emplace_back(row->name);
        return names;
      },
      "The names of all operators, sorted.");
}

}  // namespace ostinato::python
