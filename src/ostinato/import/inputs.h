#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ostinato/ir/dim.h"
#include "ostinato/tensor.h"

namespace ostinato::importer {

/// What an input of a model holds, and so what can fill it when nobody gives it.
enum class InputKind {
  picture,         ///< (B, channels, height, width), normalised; random ones are standard normal
  token_ids,       ///< (B, S)
  attention_mask,  ///< (B, S), 1 for a token and 0 for padding; ones when nobody gives it
  token_types,     ///< (B, S); zeros when nobody gives it
};

/// The name in docs and reports: `picture`, `token_ids`, ….
std::string_view name_of(InputKind kind);

/// An input of a model's forward, found from its configuration alone.
struct InputSpec {
  std::string name;
  InputKind kind;
  DType dtype;
  ir::Shape shape;      ///< symbols `b` (batch) and `s` (tokens)
  int64_t values = 0;   ///< of integers: valid ones are 0 … values-1
  int64_t longest = 0;  ///< of `s`; 0 where the input has none
};

/// What fills the input when the user gives none: seeded random pictures and tokens, a mask of
/// ones, token types of zeros. Same seed, same values, whatever the machine.
/// @param bindings sizes of the symbols
Tensor default_input(const InputSpec& spec, const ir::Bindings& bindings, uint64_t seed);

}  // namespace ostinato::importer
