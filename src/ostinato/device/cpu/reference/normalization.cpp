#include <cmath>

#include "ostinato/device/cpu/reference/reference.h"

namespace ostinato::cpu::reference {

namespace {

struct Moments {
  float mean, rstd;
};

// Sums in double: a plane of an image has so many elements that fp32 sums would show.
Moments moments_of(std::span<const float> values, double eps) {
  double sum = 0;
  for (float value : values) sum += value;
  const double mean = sum / static_cast<double>(values.size());
  double squares = 0;
  for (float value : values) squares += (value - mean) * (value - mean);
  const double variance = squares / static_cast<double>(values.size());
  return {static_cast<float>(mean), static_cast<float>(1 / std::sqrt(variance + eps))};
}

float get_or(const View& view, int64_t position, float fallback) {
  return view ? view.get(view.offset_of(position)) : fallback;
}

// Normalises runs of `length` elements in row-major order; `channel(position)` says which element
// of weight and bias is an element's.
template <typename Channel>
void normalise_runs(const Call& call, int64_t length, Channel&& channel) {
  const View &x = call.inputs[0], &weight = call.inputs[1], &bias = call.inputs[2];
  const View &y = call.outputs[0], &means = call.outputs[1], &rstds = call.outputs[2];
  const std::vector<float> values = x.to_floats();
  std::vector<float> results(values.size());
  for (int64_t run = 0; run < means.numel(); ++run) {
    const int64_t first = run * length;
    const auto [mean, rstd] = moments_of(
        std::span(values).subspan(static_cast<size_t>(first), static_cast<size_t>(length)),
        call.node.real("eps"));
    means.set(means.offset_of(run), mean);
    rstds.set(rstds.offset_of(run), rstd);
    for (int64_t i = first; i < first + length; ++i) {
      const size_t at = static_cast<size_t>(i);
      const int64_t c = channel(i);
      results[at] = (values[at] - mean) * rstd * get_or(weight, c, 1) + get_or(bias, c, 0);
    }
  }
  y.from_floats(results);
}

void layer_norm(const Call& call) {
  int64_t length = 1;
  for (int64_t size : call.node.integers("normalized_shape")) length *= size;
  normalise_runs(call, length, [length](int64_t position) { return position % length; });
}

void group_norm(const Call& call) {
  const int64_t channels = call.node.integer("C"), plane = call.node.integer("HxW");
  const int64_t length = channels / call.node.integer("group") * plane;
  normalise_runs(call, length, [=](int64_t position) { return position / plane % channels; });
}

void batch_norm(const Call& call) {
  const View &x = call.inputs[0], &weight = call.inputs[1], &bias = call.inputs[2];
  const View &mean = call.inputs[3], &variance = call.inputs[4], &y = call.outputs[0];
  const float eps = static_cast<float>(call.node.real("eps"));
  for_each_index(x.sizes(), [&](std::span<const int64_t> index, int64_t) {
    const int64_t c = index[1];
    const float rstd = 1 / std::sqrt(get_or(variance, c, 1) + eps);
    const float value = (x.get(x.offset(index)) - get_or(mean, c, 0)) * rstd;
    y.set(y.offset(index), value * get_or(weight, c, 1) + get_or(bias, c, 0));
  });
}

}  // namespace

void add_normalization(KernelTable& table) {
  table.add("aten.native_layer_norm", device::Tier::reference, make<layer_norm>);
  table.add("aten.native_group_norm", device::Tier::reference, make<group_norm>);
  table.add("aten._native_batch_norm_legit_no_training", device::Tier::reference, make<batch_norm>);
}

}  // namespace ostinato::cpu::reference
