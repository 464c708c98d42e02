#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ostinato/base/progress.h"
#include "ostinato/import/checkpoint.h"
#include "ostinato/import/hf/family.h"
#include "ostinato/tensor.h"

namespace ostinato {
class KnownFiles;
}

namespace ostinato::importer {

/// The weights of a model by their parameters' names.
using Weights = std::map<std::string, Tensor, std::less<>>;

/// The tensors of a checkpoint under the names that a class's parameters have: with the renames of
/// the family undone, and the prefix of the base model taken off or put on as the class needs it.
class CheckpointNames {
 public:
  /// Throws `corrupt` where two tensors come to the same name.
  /// @param source where the tensors are, for errors
  CheckpointNames(const std::vector<std::string>& tensors, const Family& family,
                  std::string_view architecture, std::string_view source);

  /// The checkpoint's name of a parameter; empty when it has none.
  std::string_view find(std::string_view parameter) const;

  /// Whether the base model has a module of that name, such as `pooler`.
  bool has_module(std::string_view module) const;

  /// Parameters' names and the checkpoint's.
  const std::map<std::string, std::string, std::less<>>& all() const { return names_; }

  /// Of tensors beside the base model that the class, which is the base model, has no use for.
  bool is_of_a_head(std::string_view parameter) const;

 private:
  std::string prefix_;   ///< of the class's own base model: `vit.`, or nothing
  bool strips_ = false;  ///< the class is the base model, and the checkpoint is of one with a head
  std::map<std::string, std::string, std::less<>> names_;
  std::map<std::string, bool, std::less<>> head_;
};

/// Which tensors a model's parameters are.
struct WeightMatch {
  std::vector<std::string> names;  ///< of each parameter
  /// Tensors that are one parameter under two names, and so must be equal.
  std::vector<std::pair<std::string, std::string>> tied;
};

/// Finds each parameter's tensor. Every parameter must have one, and every tensor belong to a
/// parameter; tensors that may be spare are those the family calls harmless. Throws `not_found` or
/// `invalid_argument`.
/// @param tied a parameter's other name and its name: both tensors may be there, and either may be
///   missing
WeightMatch match_weights(const CheckpointNames& names, const Family& family,
                          const std::vector<Parameter>& parameters,
                          const std::vector<std::pair<std::string, std::string>>& tied);

/// Reads the parameters in that dtype: in place and without a copy where the file has it. Every
/// tensor must have the parameter's shape and be finite, and tied ones be equal. Throws `corrupt`
/// or `invalid_argument` naming file and tensor.
/// @param known where what was read is noted, with its digest; a tensor noted there, used in place,
///   is finite and not read again. Null: everything is
Weights load_weights(const Checkpoint& checkpoint, const WeightMatch& match,
                     const std::vector<Parameter>& parameters, DType dtype,
                     const Progress& progress = {}, KnownFiles* known = nullptr);

/// Weights as transformers would initialise them. Same seed, same weights, whatever the number of
/// threads.
Weights random_weights(const std::vector<Parameter>& parameters, DType dtype, uint64_t seed,
                       const Progress& progress = {});

/// The product of the sizes; throws `invalid_argument` naming the parameter when it is beyond any
/// memory.
int64_t checked_numel(const Parameter& parameter);

}  // namespace ostinato::importer
