#include "support/decoder.h"

#include <cmath>
#include <span>

#include "ostinato/base/dtype.h"
#include "ostinato/base/error.h"
#include "ostinato/ir/builder.h"
#include "ostinato/ops/ops.h"
#include "support/random.h"

namespace ostinato {

namespace {

Tensor integer(int64_t value, std::vector<int64_t> shape) {
  Tensor tensor = Tensor::empty(DType::int64, std::move(shape));
  *tensor.as<int64_t>() = value;
  return tensor;
}

using ir::Shape;
using ir::Value;

class Decoder {
 public:
  Decoder(const DecoderSpec& spec, uint32_t seed)
      : spec_(spec), random_(seed), build_(graph_, ops::table()) {}

  ir::Graph make();

 private:
  Value* weight(Shape shape, float scale, float offset = 0) {
    const ir::ValueType type{spec_.dtype, shape};
    if (!spec_.weights) return graph_.add_constant(next_name(), type);
    Tensor data = random_tensor(random_, DType::float32, ir::to_integers(shape), scale);
    for (int64_t i = 0; i < data.numel(); ++i) data.as<float>()[i] += offset;
    return graph_.add_constant(next_name(), type, data.to(spec_.dtype));
  }
  std::string next_name() { return fmt::format("w{}", names_++); }
  Value* linear(Value* x, int64_t in, int64_t out, bool bias) {
    const float scale = 1.0f / std::sqrt(static_cast<float>(in));
    Value* w = weight({out, in}, scale);
    return build_("aten.linear", {x, w, bias ? weight({out}, 0.2f) : nullptr});
  }
  Value* norm(Value* x, int64_t size) {
    return build_("rms_norm", {x, weight({size}, 0.1f, 1.0f)}, {{"eps", 1e-6}});
  }
  Value* heads(Value* x, int64_t count, bool normed);
  void make_table();
  Value* attend(Value* x, int64_t layer);
  Value* feed_forward(Value* x);

  DecoderSpec spec_;
  Random random_;
  ir::Graph graph_;
  ir::Builder build_;
  int names_ = 0;
  Value *position_ = nullptr, *cos_ = nullptr, *sin_ = nullptr;
};

void Decoder::make_table() {
  Tensor frequencies = Tensor::empty(DType::float32, {spec_.dim / 2});
  for (int64_t i = 0; i < spec_.dim / 2; ++i) {
    frequencies.as<float>()[i] =
        std::pow(10000.0f, -2.0f * static_cast<float>(i) / static_cast<float>(spec_.dim));
  }
  Value* positions =
      build_("aten.arange.start_step", {}, {{"start", 0}, {"end", 1}, {"dtype", DType::int64}});
  positions = build_("aten.add.Tensor", {positions, position_});
  positions = build_("aten.view", {positions}, {{"size", Shape{1, 1, 1}}});
  positions = build_("aten._to_copy", {positions}, {{"dtype", DType::float32}});
  Value* angles = build_("aten.mul.Tensor", {positions, build_.constant(frequencies)});
  angles = build_("aten.cat", {angles, angles}, {{"dim", -1}});
  const auto table = [&](std::string_view op) {
    Value* y = build_("aten._to_copy", {build_(op, {angles})}, {{"dtype", spec_.dtype}});
    return build_("aten.unsqueeze", {y}, {{"dim", 1}});
  };
  cos_ = table("aten.cos");
  sin_ = table("aten.sin");
}

Value* Decoder::heads(Value* x, int64_t count, bool normed) {
  x = build_("aten.view", {x}, {{"size", Shape{1, 1, count, spec_.dim}}});
  if (normed) x = norm(x, spec_.dim);
  return build_("aten.permute", {x}, {{"dims", Shape{0, 2, 1, 3}}});
}

Value* Decoder::attend(Value* x, int64_t layer) {
  const auto project = [&](int64_t count) {
    return linear(x, spec_.hidden, count * spec_.dim, spec_.biases);
  };
  Value *q = project(spec_.heads), *k = project(spec_.kv_heads), *v = project(spec_.kv_heads);
  q = build_("rotary", {heads(q, spec_.heads, spec_.norms), cos_, sin_});
  k = build_("rotary", {heads(k, spec_.kv_heads, spec_.norms), cos_, sin_});
  const auto cached = [&](std::string_view name, Value* fresh) {
    Value* state = graph_.add_state(fmt::format("{}.{}", name, layer),
                                    {spec_.dtype, {1, spec_.kv_heads, spec_.capacity, spec_.dim}});
    return build_("cache_update", {state, fresh, position_});
  };
  k = cached("key", k);
  v = cached("value", heads(v, spec_.kv_heads, false));
  std::vector<ir::NamedAttribute> attributes = {{"causal", true}};
  if (spec_.window > 0) attributes.emplace_back("window", spec_.window);
  Value* y = build_("attention", {q, k, v, nullptr, position_}, attributes);
  y = build_("aten.permute", {y}, {{"dims", Shape{0, 2, 1, 3}}});
  y = build_("aten.view", {y}, {{"size", Shape{1, 1, spec_.heads * spec_.dim}}});
  return linear(y, spec_.heads * spec_.dim, spec_.hidden, false);
}

Value* Decoder::feed_forward(Value* x) {
  Value* gate = build_("aten.silu", {linear(x, spec_.hidden, spec_.wide, false)});
  Value* up = linear(x, spec_.hidden, spec_.wide, false);
  return linear(build_("aten.mul.Tensor", {gate, up}), spec_.wide, spec_.hidden, false);
}

ir::Graph Decoder::make() {
  Value* ids = graph_.add_input("input_ids", {DType::int64, {1, 1}});
  position_ = graph_.add_input("position", {DType::int64, {}});
  Value* last = graph_.add_input("last", {DType::int64, {1}});
  Value* table = weight({spec_.vocabulary, spec_.hidden}, 0.5f);
  Value* x = build_("aten.embedding", {table, ids});
  make_table();
  for (int64_t layer = 0; layer < spec_.layers; ++layer) {
    x = build_("aten.add.Tensor", {x, attend(norm(x, spec_.hidden), layer)});
    x = build_("aten.add.Tensor", {x, feed_forward(norm(x, spec_.hidden))});
  }
  x = build_("aten.index_select", {x, last}, {{"dim", 1}});
  Value* head = spec_.tied ? table : weight({spec_.vocabulary, spec_.hidden}, 0.5f);
  Value* logits = build_("aten.linear", {norm(x, spec_.hidden), head, nullptr});
  graph_.add_output("logits", logits);
  graph_.add_output("next_token", build_("aten.argmax", {logits}, {{"dim", -1}}));
  return std::move(graph_);
}

}  // namespace

ir::Graph make_decoder(const DecoderSpec& spec, uint32_t seed) {
  return Decoder(spec, seed).make();
}

DecoderSpec spec_of(void (*change)(DecoderSpec&)) {
  DecoderSpec spec;
  change(spec);
  return spec;
}

std::vector<Tensor> decoder_inputs(int64_t token, int64_t position, int64_t last) {
  return {integer(token, {1, 1}), integer(position, {}), integer(last, {1})};
}

double distance(const Tensor& got, const Tensor& expected) {
  const Tensor a = got.to(DType::float32), b = expected.to(DType::float32);
  double difference = 0, magnitude = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    const double x = a.as<float>()[i], y = b.as<float>()[i];
    difference = std::max(difference, std::isnan(x) ? INFINITY : std::fabs(x - y));
    magnitude = std::max(magnitude, std::fabs(y));
  }
  return difference / magnitude;
}

double lead_over(const Tensor& logits, int64_t token) {
  const Tensor all = logits.to(DType::float32);
  const std::span<const float> values(all.as<float>(), static_cast<size_t>(all.numel()));
  if (token < 0 || token >= all.numel()) return INFINITY;
  float largest = -INFINITY, magnitude = 0;
  for (const float x : values) {
    largest = std::max(largest, x);
    magnitude = std::max(magnitude, std::fabs(x));
  }
  return (largest - values[static_cast<size_t>(token)]) / magnitude;
}

}  // namespace ostinato
