#include <cmath>
#include <limits>

#include "ostinato/device/cpu/reference/reference.h"

namespace ostinato::cpu::reference {

namespace {

struct Pair {
  int64_t height, width;
};

Pair pair_of(const ir::Node& node, std::string_view name, Pair fallback = {1, 1}) {
  const std::vector<int64_t> values = node.integers(name);
  return values.empty() ? fallback : Pair{values.front(), values.back()};
}

// Calls `f(plane of x, index in y)` for each element of the result (..., H, W): the offset of the
// image that it comes from, and its own index.
template <typename F>
void for_each_place(const View& x, const View& y, F&& f) {
  for_each_index(y.sizes(), [&](std::span<const int64_t> index, int64_t) {
    f(x.offset(index.first(index.size() - 2)), index);
  });
}

/// Which taps of a window that begins at `begin`, `dilation` apart, lie in [0, size).
Range taps_within(int64_t begin, int64_t count, int64_t dilation, int64_t size) {
  const int64_t first = begin < 0 ? (-begin + dilation - 1) / dilation : 0;
  const int64_t end = begin < size ? (size - begin + dilation - 1) / dilation : 0;
  return {first, std::min(count, end)};
}

void max_pool(const Call& call) {
  const View &x = call.inputs[0], &y = call.outputs[0], &where = call.outputs[1];
  const Pair kernel = pair_of(call.node, "kernel_size");
  const Pair stride = pair_of(call.node, "stride", kernel), padding = pair_of(call.node, "padding");
  const Pair dilation = pair_of(call.node, "dilation");
  const size_t rank = x.rank();
  const int64_t height = x.size(rank - 2), width = x.size(rank - 1);
  for_each_place(x, y, [&](int64_t plane, std::span<const int64_t> index) {
    const int64_t top = index[rank - 2] * stride.height - padding.height;
    const int64_t left = index[rank - 1] * stride.width - padding.width;
    float best = -std::numeric_limits<float>::infinity();
    int64_t at = -1;
    const Range down = taps_within(top, kernel.height, dilation.height, height);
    const Range across = taps_within(left, kernel.width, dilation.width, width);
    for (int64_t i = down.begin; i < down.end; ++i) {
      for (int64_t j = across.begin; j < across.end; ++j) {
        const int64_t h = top + i * dilation.height, w = left + j * dilation.width;
        const float value = x.get(plane + h * x.strides()[rank - 2] + w * x.strides()[rank - 1]);
        if (at < 0 || value > best || std::isnan(value)) {
          best = value;
          at = h * width + w;
        }
      }
    }
    y.set(y.offset(index), best);
    where.set_integer(where.offset(index), at);
  });
}

float window_sum(const View& x, int64_t plane, int64_t top, int64_t bottom, int64_t left,
                 int64_t right) {
  const size_t rank = x.rank();
  float sum = 0;
  for (int64_t h = top; h < bottom; ++h) {
    for (int64_t w = left; w < right; ++w) {
      sum += x.get(plane + h * x.strides()[rank - 2] + w * x.strides()[rank - 1]);
    }
  }
  return sum;
}

/// In reals: a window of padding may be as large as it likes.
float area(int64_t height, int64_t width) {
  return static_cast<float>(static_cast<double>(std::max<int64_t>(height, 0)) *
                            static_cast<double>(std::max<int64_t>(width, 0)));
}

void avg_pool(const Call& call) {
  const View &x = call.inputs[0], &y = call.outputs[0];
  const Pair kernel = pair_of(call.node, "kernel_size");
  const Pair stride = pair_of(call.node, "stride", kernel), padding = pair_of(call.node, "padding");
  const bool count_padding = call.node.flag("count_include_pad");
  const bool overridden = call.node.has("divisor_override");
  const size_t rank = x.rank();
  const int64_t height = x.size(rank - 2), width = x.size(rank - 1);
  for_each_place(x, y, [&](int64_t plane, std::span<const int64_t> index) {
    int64_t top = index[rank - 2] * stride.height - padding.height;
    int64_t left = index[rank - 1] * stride.width - padding.width;
    // A window that hangs over the padding's end counts only up to there.
    int64_t bottom = std::min(top + kernel.height, height + padding.height);
    int64_t right = std::min(left + kernel.width, width + padding.width);
    const float padded = area(bottom - top, right - left);
    top = std::max<int64_t>(top, 0);
    left = std::max<int64_t>(left, 0);
    bottom = std::min(bottom, height);
    right = std::min(right, width);
    const float inside = area(bottom - top, right - left);
    const float divisor = overridden ? static_cast<float>(call.node.integer("divisor_override"))
                          : count_padding ? padded
                                          : inside;
    const float sum = window_sum(x, plane, top, bottom, left, right);
    y.set(y.offset(index), inside == 0 ? 0.0f : sum / divisor);
  });
}

// Windows of nearly equal size that cover the image.
void adaptive_avg_pool(const Call& call) {
  const View &x = call.inputs[0], &y = call.outputs[0];
  const size_t rank = x.rank();
  const auto begin = [&](size_t dim, int64_t i) { return i * x.size(dim) / y.size(dim); };
  const auto end = [&](size_t dim, int64_t i) {
    return ((i + 1) * x.size(dim) + y.size(dim) - 1) / y.size(dim);
  };
  for_each_place(x, y, [&](int64_t plane, std::span<const int64_t> index) {
    const int64_t i = index[rank - 2], j = index[rank - 1];
    const int64_t top = begin(rank - 2, i), bottom = end(rank - 2, i);
    const int64_t left = begin(rank - 1, j), right = end(rank - 1, j);
    const float sum = window_sum(x, plane, top, bottom, left, right);
    y.set(y.offset(index), sum / static_cast<float>((bottom - top) * (right - left)));
  });
}

}  // namespace

void add_pool(KernelTable& table) {
  table.add("aten.max_pool2d_with_indices", device::Tier::reference, make<max_pool>);
  table.add("aten.avg_pool2d", device::Tier::reference, make<avg_pool>);
  table.add("aten._adaptive_avg_pool2d", device::Tier::reference, make<adaptive_avg_pool>);
  table.add("aten.adaptive_avg_pool2d", device::Tier::reference, make<adaptive_avg_pool>);
}

}  // namespace ostinato::cpu::reference
