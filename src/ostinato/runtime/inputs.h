#pragma once

#include <string>
#include <vector>

#include "ostinato/runtime/source.h"

namespace ostinato::runtime {

/// What the user gave for a model's inputs. Where several could fill one, the file wins, then
/// pictures and texts, then seeded random values.
struct InputRequest {
  std::string file;                   ///< a safetensors file with inputs by name; empty for none
  std::vector<std::string> pictures;  ///< paths
  std::vector<std::string> texts;
  int64_t batch_size = 0;  ///< pictures or texts repeat to fill it; 0: as many as there are, else 1
  uint64_t seed = 0;
};

/// One input, and in words where it comes from: `astronaut.png`, `text`, `random, seed 0`, ….
struct NamedInput {
  std::string name;
  Tensor tensor;
  std::string origin;
};

/// A tensor for each input of the graph, in its order and dtypes. Throws `invalid_argument` for
/// something given that no input takes, for texts of different lengths where the model takes no
/// mask, and for an integer input of a graph text file that the file does not give.
std::vector<NamedInput> resolve_inputs(const Source& source, const ir::Graph& graph,
                                       const InputRequest& request);

}  // namespace ostinato::runtime
