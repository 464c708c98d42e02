#include "ostinato/graph.h"

#include "ostinato/api/access.h"
#include "ostinato/base/atomic_file.h"
#include "ostinato/base/error.h"
#include "ostinato/import/safetensors_writer.h"
#include "ostinato/ir/text.h"
#include "ostinato/ir/verifier.h"
#include "ostinato/ops/ops.h"

namespace ostinato {

namespace {

constexpr std::string_view kStage = "api/graph";

void refuse_spare(const ir::Graph& graph, const NamedTensors& constants) {
  const auto known = external_constants(graph);
  for (const auto& [name, tensor] : constants) {
    std::vector<std::string_view> names;
    for (const auto& entry : known) names.push_back(entry.first);
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    fail(ErrorCode::invalid_argument, kStage,
         names.empty() ? "The text has the elements of all constants."
                       : fmt::format("Those without elements are: {}.", fmt::join(names, ", ")),
         "there is no constant '{}' without elements in the text", name);
  }
}

}  // namespace

Size::Size(std::string_view expression) {
  const ir::Dim dim = ir::Dim::parse(expression);
  if (dim.is_constant()) {
    value_ = dim.value();
  } else {
    expression_ = dim.str();
  }
}

int64_t Size::value() const {
  if (!is_symbolic()) return value_;
  fail(ErrorCode::invalid_argument, kStage, "Use a size that is an integer.",
       "expected an integer, got {}", expression_);
}

std::string Size::str() const { return is_symbolic() ? expression_ : std::to_string(value_); }

std::string TensorSpec::str() const {
  return fmt::format("{}: {}", name, ir::to_string(ir::ValueType{dtype, to_shape(shape)}));
}

const Graph::Impl& Graph::impl() const {
  if (impl_ == nullptr) fail_moved_from("graph");
  return *impl_;
}

Graph Graph::parse(std::string_view text, const NamedTensors& constants) {
  ir::Graph graph = ir::parse(text, ops::table());
  refuse_spare(graph, constants);
  if (!constants.empty()) {
    attach_constants(graph, [&constants](const std::string& name) {
      const auto found = constants.find(name);
      return found == constants.end() ? Tensor() : found->second;
    });
  }
  return Access::wrap(std::move(graph));
}

Graph Graph::open(const std::filesystem::path& path) {
  return Access::wrap(runtime::read_graph(path));
}

void Graph::save(const std::filesystem::path& path) const {
  const std::filesystem::path weights =
      std::filesystem::path(path).replace_extension(".safetensors");
  if (weights == path) {
    fail(ErrorCode::invalid_argument, kStage, "Give it another ending, such as .graph.",
         "{} would be both the text and its constants", path.string());
  }
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const auto& [name, constant] : external_constants(*impl().graph)) {
    if (!constant->data.defined()) {
      fail(ErrorCode::not_found, kStage, "Give Graph::parse the constants.",
           "expected elements for the constant '{}', got none", name);
    }
    tensors.emplace_back(name, constant->data);
  }
  // The text last: with it there, all is there.
  if (!tensors.empty()) importer::write_safetensors(weights, tensors);
  write_file(path, text());
}

std::string Graph::text() const { return print(*impl().graph); }
const std::string& Graph::name() const { return impl().graph->name; }
const std::vector<TensorSpec>& Graph::inputs() const { return impl().inputs; }
const std::vector<TensorSpec>& Graph::outputs() const { return impl().outputs; }
const std::vector<TensorSpec>& Graph::constants() const { return impl().constants; }
const std::vector<TensorSpec>& Graph::states() const { return impl().states; }
const std::vector<std::string>& Graph::symbols() const { return impl().symbols; }
size_t Graph::call_count() const { return impl().graph->nodes().size(); }
void Graph::verify() const { ir::verify(*impl().graph); }

}  // namespace ostinato
