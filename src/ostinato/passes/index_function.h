#pragma once

#include <optional>
#include <vector>

#include "ostinato/ir/graph.h"

/// What integers and truth values are, as functions of their own position: how masks that models
/// compute from `arange` are understood without looking at any element, for symbolic sizes too.
namespace ostinato::passes {

/// constant + Σ steps[d] · position[d]. The step of a dim of size one is zero.
struct Affine {
  ir::Dim constant;
  std::vector<ir::Dim> steps;  ///< one a dim
};

/// True where each of the functions is at least zero: everywhere if there are none.
using Conditions = std::vector<Affine>;

/// The functions of a graph's values, as far as they are seen.
class IndexFunctions {
 public:
  explicit IndexFunctions(const ir::Graph& graph);

  /// The integers of an int64 or int32 value, or nullopt.
  std::optional<Affine> affine(const ir::Value* value) const;
  /// Where a bool value is true, or nullopt.
  std::optional<Conditions> conditions(const ir::Value* value) const;

 private:
  std::optional<Affine> arithmetic(const ir::Node& node) const;
  std::optional<Affine> concatenated(const ir::Node& node) const;
  std::optional<Affine> indexed(const ir::Node& node) const;
  std::optional<Affine> converted(const ir::Node& node) const;
  std::optional<Affine> affine_result(const ir::Node& node) const;

  std::optional<Conditions> comparison(const ir::Node& node) const;
  std::optional<Conditions> connective(const ir::Node& node) const;
  std::optional<Conditions> triangle(const ir::Node& node) const;
  std::optional<Conditions> true_results(const ir::Node& node) const;

  // By the value's id, of results.
  std::vector<std::optional<Affine>> affine_;
  std::vector<std::optional<Conditions>> conditions_;
};

}  // namespace ostinato::passes
