#include "ostinato/api/access.h"

#include "ostinato/base/error.h"
#include "ostinato/ir/text.h"

namespace ostinato {

void fail_moved_from(std::string_view what) {
  fail(ErrorCode::invalid_argument, fmt::format("api/{}", what),
       "Use the object that it was moved to, or make a new one.",
       "expected a {}, got one that was moved from", what);
}

ir::Dim to_dim(const Size& size) {
  return size.is_symbolic() ? ir::Dim::parse(size.str()) : ir::Dim(size.value());
}

ir::Shape to_shape(const std::vector<Size>& sizes) {
  ir::Shape shape;
  for (const Size& size : sizes) shape.push_back(to_dim(size));
  return shape;
}

std::vector<Size> to_sizes(const ir::Shape& shape) {
  std::vector<Size> sizes;
  for (const ir::Dim& dim : shape) {
    sizes.push_back(dim.is_constant() ? Size(dim.value()) : Size(dim.str()));
  }
  return sizes;
}

Graph Access::wrap(std::shared_ptr<const ir::Graph> graph) {
  Graph::Impl impl;
  const auto spec = [](const std::string& name, const ir::ValueType& type) {
    return TensorSpec{name, type.dtype, to_sizes(type.shape)};
  };
  for (const ir::Value* input : graph->inputs()) {
    impl.inputs.push_back(spec(input->name, input->type));
  }
  for (const ir::Value* state : graph->states()) {
    impl.states.push_back(spec(state->name, state->type));
  }
  for (const auto& [name, constant] : external_constants(*graph)) {
    impl.constants.push_back(spec(name, constant->type));
  }
  for (const ir::Output& output : graph->outputs()) {
    impl.outputs.push_back(spec(output.name, output.value->type));
  }
  impl.symbols = graph->symbols();
  impl.graph = std::move(graph);
  return Graph(std::make_shared<const Graph::Impl>(std::move(impl)));
}

Turn::Turn(std::atomic_flag& taken, std::string_view what) : taken_(taken) {
  if (!taken_.test_and_set(std::memory_order_acquire)) return;
  fail(ErrorCode::invalid_argument, fmt::format("api/{}", what),
       fmt::format("Give each thread a {} of its own.", what),
       "expected one call at a time, got one while another is under way");
}

}  // namespace ostinato
