#include <algorithm>
#include <array>
#include <cmath>

#include "ostinato/device/cpu/reference/reference.h"

namespace ostinato::cpu::reference {

namespace {

// Where a place of the result lies in the image, along one dim.
struct Axis {
  int64_t from, to;  // sizes
  bool align_corners;
  float step;

  Axis(const Call& call, size_t dim, std::string_view scale, bool align)
      : from(call.inputs[0].size(dim)), to(call.outputs[0].size(dim)), align_corners(align) {
    if (align_corners) {
      step = to > 1 ? static_cast<float>(from - 1) / static_cast<float>(to - 1) : 0.0f;
    } else if (call.node.has(scale) && call.node.real(scale) > 0) {
      step = static_cast<float>(1.0 / call.node.real(scale));
    } else {
      step = static_cast<float>(from) / static_cast<float>(to);
    }
  }

  float position(int64_t place) const {
    const float at = static_cast<float>(place);
    return align_corners ? step * at : step * (at + 0.5f) - 0.5f;
  }

  int64_t clamp(int64_t place) const { return std::clamp<int64_t>(place, 0, from - 1); }
};

// Up to four neighbours along one dim, each with its weight.
struct Taps {
  std::array<int64_t, 4> places{};
  std::array<float, 4> weights{};
  size_t count = 0;

  void add(int64_t place, float weight) {
    places[count] = place;
    weights[count++] = weight;
  }
};

Taps nearest_taps(const Axis& axis, int64_t place) {
  Taps taps;
  taps.add(axis.clamp(static_cast<int64_t>(std::floor(static_cast<float>(place) * axis.step))), 1);
  return taps;
}

Taps linear_taps(const Axis& axis, int64_t place) {
  const float position = std::max(axis.position(place), 0.0f);
  const int64_t first = axis.clamp(static_cast<int64_t>(position));
  const float rest = std::clamp(position - static_cast<float>(first), 0.0f, 1.0f);
  Taps taps;
  taps.add(first, 1 - rest);
  taps.add(axis.clamp(first + 1), rest);
  return taps;
}

// Keys' cubic convolution with a = -0.75.
Taps cubic_taps(const Axis& axis, int64_t place) {
  constexpr float a = -0.75f;
  const auto near = [](float d) { return ((a + 2) * d - (a + 3)) * d * d + 1; };
  const auto far = [](float d) { return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a; };
  const float position = axis.position(place);
  const int64_t first = static_cast<int64_t>(std::floor(position));
  const float rest = position - static_cast<float>(first);
  Taps taps;
  taps.add(axis.clamp(first - 1), far(rest + 1));
  taps.add(axis.clamp(first), near(rest));
  taps.add(axis.clamp(first + 1), near(1 - rest));
  taps.add(axis.clamp(first + 2), far(2 - rest));
  return taps;
}

template <Taps (*taps)(const Axis& axis, int64_t place)>
void upsample(const Call& call) {
  const View &x = call.inputs[0], &y = call.outputs[0];
  const size_t rank = x.rank();
  const bool nearest = call.node.op->attributes[1].name != "align_corners";
  const bool align = !nearest && call.node.flag("align_corners");
  const Axis vertical(call, rank - 2, "scales_h", align);
  const Axis horizontal(call, rank - 1, "scales_w", align);
  for_each_index(y.sizes(), [&](std::span<const int64_t> index, int64_t) {
    const int64_t plane = x.offset(index.first(rank - 2));
    const Taps rows = taps(vertical, index[rank - 2]), columns = taps(horizontal, index[rank - 1]);
    float sum = 0;
    for (size_t i = 0; i < rows.count; ++i) {
      const int64_t row = plane + rows.places[i] * x.strides()[rank - 2];
      float line = 0;
      for (size_t j = 0; j < columns.count; ++j) {
        line += columns.weights[j] * x.get(row + columns.places[j] * x.strides()[rank - 1]);
      }
      sum += rows.weights[i] * line;
    }
    y.set(y.offset(index), sum);
  });
}

}  // namespace

void add_upsample(KernelTable& table) {
  table.add("aten.upsample_nearest2d", device::Tier::reference, make<upsample<nearest_taps>>);
  table.add("aten.upsample_bilinear2d", device::Tier::reference, make<upsample<linear_taps>>);
  table.add("aten.upsample_bicubic2d", device::Tier::reference, make<upsample<cubic_taps>>);
}

}  // namespace ostinato::cpu::reference
