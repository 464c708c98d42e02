#pragma once

#include <nanobind/nanobind.h>

#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "ostinato/ir/graph.h"

namespace ostinato::python {

/// A size that Python gives: an int or a Dim. Throws `invalid_argument` for anything else.
ir::Dim dim_of(nanobind::handle value);
ir::Shape shape_of(nanobind::handle values);

/// A graph in the making.
class GraphBuilder {
 public:
  explicit GraphBuilder(std::string name) { graph_.name = std::move(name); }
  explicit GraphBuilder(ir::Graph graph) : graph_(std::move(graph)) {}

  /// A constant's name, dtype, sizes and elements.
  using Stored = std::tuple<std::string, std::string, std::vector<int64_t>, nanobind::bytes>;

  /// Reads what `text` and `stored` give; other constants stay without data. Throws `corrupt`.
  static GraphBuilder parse(const std::string& text, const std::vector<Stored>& stored);
  std::string text() const;
  /// The constants whose elements are not in the text. Throws `unsupported` where the device has
  /// them.
  std::vector<Stored> stored() const;

  ir::Value* add_input(std::string name, const std::string& dtype, nanobind::handle shape);
  ir::Value* add_constant(std::string name, const std::string& dtype, nanobind::handle shape);
  /// A tensor that never changes, copied; one on a GPU stays there.
  ir::Value* add_tensor(std::string name, nanobind::handle tensor);

  /// Calls an operator with arguments by the names of its ATen schema: tensors as values, sizes as
  /// ints or Dims, dtypes by name. `threads`: at most so many work on it; 0 for no limit. Throws
  /// the engine's error when it cannot be taken; nothing is added then.
  std::vector<ir::Value*> call(const std::string& op, nanobind::dict arguments,
                               const std::string& source, int threads = 0);

  /// The index of the new output.
  size_t add_output(ir::Value* value);
  std::vector<std::string> output_names() const;

  const ir::Graph& graph() const { return graph_; }
  /// By the id of a call's first result.
  const std::map<int, int>& thread_limits() const { return thread_limits_; }

 private:
  std::vector<ir::Value*> add_call(const std::string& op, nanobind::dict arguments,
                                   const std::string& source);
  bool translate(const std::string& name, nanobind::dict arguments, const std::string& source,
                 std::vector<ir::Value*>& results);
  bool take_scalar_overload(const ir::OpRow& op, nanobind::dict arguments,
                            const std::string& source, std::vector<ir::Value*>& results);
  ir::Value* operand_of(nanobind::handle value, DType number_dtype);

  ir::Graph graph_;
  std::map<int, int> thread_limits_;
};

void bind_graph(nanobind::module_& module);

}  // namespace ostinato::python
