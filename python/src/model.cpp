#include "model.h"

#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "graph.h"
#include "ostinato/base/json.h"
#include "ostinato/import/model.h"

namespace ostinato::python {

namespace nb = nanobind;

namespace {

constexpr std::string_view kSource = "the model's config";

importer::Model read_model(const std::string& config, const std::string& dtype,
                           const std::vector<std::string>& tensors) {
  return importer::Model::from_names(parse_json(config, "import/config", kSource),
                                     std::string(kSource), dtype_of(dtype), tensors);
}

nb::list inputs_of(const importer::Model& model) {
  nb::list inputs;
  for (const importer::InputSpec& input : model.inputs()) {
    inputs.append(nb::make_tuple(input.name, std::string(name_of(input.kind))));
  }
  return inputs;
}

/// Each parameter's name in graphs, and its tensor's.
nb::list weights_of(const importer::Model& model) {
  nb::list weights;
  for (size_t i = 0; i < model.parameters().size(); ++i) {
    weights.append(nb::make_tuple(model.parameters()[i].name, model.match().names[i]));
  }
  return weights;
}

}  // namespace

void bind_model(nb::module_& module) {
  nb::class_<importer::Model>(module, "Model", "A model of a family that the engine builds itself.")
      .def_static("read", &read_model, nb::arg("config"), nb::arg("dtype"), nb::arg("tensors"),
                  "For a configuration as JSON, the dtype of weights and computation, and the "
                  "names of the weights. Raises Error for what has no builder.")
      .def_prop_ro("inputs", &inputs_of, "Of the forward: name and kind.")
      .def_prop_ro("weights", &weights_of, "Each parameter's name in graphs, and its tensor's.")
      .def_prop_ro(
          "tied", [](const importer::Model& model) { return model.match().tied; },
          "Tensors that must be the same.")
      .def_prop_ro("context_length", &importer::Model::context_length,
                   "The longest sequence in tokens; 0 for none.")
      .def(
          "forward", [](const importer::Model& model) { return GraphBuilder(model.forward()); },
          "The class's forward, its constants without data.");
}

}  // namespace ostinato::python
