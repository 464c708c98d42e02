#include "ostinato/import/inputs.h"

#include <algorithm>

#include "ostinato/import/random_weights.h"

namespace ostinato::importer {

std::string_view name_of(InputKind kind) {
  switch (kind) {
    case InputKind::picture: return "picture";
    case InputKind::token_ids: return "token_ids";
    case InputKind::attention_mask: return "attention_mask";
    case InputKind::token_types: return "token_types";
  }
  __builtin_unreachable();
}

Tensor default_input(const InputSpec& spec, const ir::Bindings& bindings, uint64_t seed) {
  std::vector<int64_t> shape;
  for (const ir::Dim& dim : spec.shape) shape.push_back(dim.evaluate(bindings));
  Tensor tensor = Tensor::empty(spec.dtype, std::move(shape));
  const uint64_t key = random_key(seed, spec.name);
  switch (spec.kind) {
    case InputKind::picture: fill_random(tensor, Init::normal(1.0), key, 0, tensor.numel()); break;
    case InputKind::token_ids:
      for (int64_t i = 0; i < tensor.numel(); ++i) {
        const auto block = static_cast<uint64_t>(i);
        const auto words =
            philox({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), 0, 0}, key);
        const uint64_t word = uint64_t{words[1]} << 32 | words[0];
        tensor.as<int64_t>()[i] = static_cast<int64_t>(word % static_cast<uint64_t>(spec.values));
      }
      break;
    case InputKind::attention_mask:
    case InputKind::token_types:
      std::fill_n(tensor.as<int64_t>(), tensor.numel(),
                  spec.kind == InputKind::attention_mask ? 1 : 0);
      break;
  }
  return tensor;
}

}  // namespace ostinato::importer
