#include <algorithm>
#include <cmath>

#include "ostinato/device/cpu/kernels/kernels.h"
#include "ostinato/device/cpu/kernels/streaming_attention.h"

namespace ostinato::cpu {

namespace {

// Sizes, strides and scale from operands of four dims, or of three: then a batch of single heads is
// one batch of as many heads.
std::optional<AttentionSpec> spec_of(const device::Request& request) {
  const ir::Node& node = *request.node;
  AttentionSpec spec;
  spec.dtype = request.outputs[0].dtype;
  const auto batched = [](const device::TensorDesc& desc, Strides& strides) {
    std::vector<int64_t> sizes = desc.sizes();
    strides = byte_strides(desc);
    if (sizes.size() == 3) {
      sizes.insert(sizes.begin(), 1);
      strides.insert(strides.begin(), 0);
    }
    return sizes;
  };
  const auto query = batched(*request.inputs[0], spec.query);
  const auto key = batched(*request.inputs[1], spec.key);
  const auto value = batched(*request.inputs[2], spec.value);
  batched(request.outputs[0], spec.result);
  const auto element = static_cast<int64_t>(size_of(spec.dtype));
  if (spec.query[3] != element && query[3] > 1) return std::nullopt;
  if (spec.key[3] != element && key[3] > 1) return std::nullopt;
  if (spec.value[3] != element && value[3] > 1) return std::nullopt;
  spec.batch = key[1] == 0 ? 0 : query[0];
  spec.heads = query[1];
  spec.kv_heads = std::max<int64_t>(1, key[1]);
  spec.queries = query[2];
  spec.keys = key[2];
  spec.depth = query[3];
  spec.value_depth = value[3];
  if (const auto& desc = request.inputs[3]) {
    spec.mask = 3;
    spec.mask_dtype = desc->dtype;
    spec.mask_strides =
        broadcast_strides(*desc, std::vector{spec.batch, spec.heads, spec.queries, spec.keys});
  }
  spec.scale = node.has("scale")
                   ? static_cast<float>(node.real("scale"))
                   : 1 / std::sqrt(static_cast<float>(std::max<int64_t>(1, spec.depth)));
  return spec;
}

std::unique_ptr<Kernel> make_attention(const device::Request& request) {
  std::optional<AttentionSpec> spec = spec_of(request);
  if (!spec) return nullptr;
  const ir::Node& node = *request.node;
  spec->causal = node.flag("causal");
  if (request.inputs[4]) {
    spec->position = 4;
    spec->position_dtype = request.inputs[4]->dtype;
  } else {
    spec->offset = node.integer("offset");
  }
  if (request.inputs[5]) {
    spec->sinks = 5;
    spec->sinks_dtype = request.inputs[5]->dtype;
    spec->sinks_stride = byte_strides(*request.inputs[5])[0];
  }
  if (node.has("window")) spec->window = node.integer("window");
  if (node.has("softcap")) spec->softcap = static_cast<float>(node.real("softcap"));
  return make_streaming_attention(request, *std::move(spec));
}

std::unique_ptr<Kernel> make_scaled_dot_product_attention(const device::Request& request) {
  std::optional<AttentionSpec> spec = spec_of(request);
  if (!spec) return nullptr;
  spec->causal = request.node->flag("is_causal");
  return make_streaming_attention(request, *std::move(spec));
}

}  // namespace

void add_attention(KernelTable& table) {
  table.add("attention", device::Tier::fast, make_attention);
  table.add("aten.scaled_dot_product_attention", device::Tier::fast,
            make_scaled_dot_product_attention);
}

}  // namespace ostinato::cpu
