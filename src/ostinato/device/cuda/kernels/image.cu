#include "ostinato/device/cuda/kernels/image.h"
#include "ostinato/device/cuda/kernels/walk.cuh"

/// Pools and resizing of pictures, in fp32.
namespace ostinato::cuda {

namespace {

constexpr int kThreads = 256;

/// A place of the result, and where its plane of x begins.
struct Place {
  int64_t plane;
  int64_t at[2];
};

template <typename Params>
__device__ Place place_of(const Params& params, int64_t i) {
  Place place;
  place.at[1] = i % params.y_sizes[1];
  place.at[0] = i / params.y_sizes[1] % params.y_sizes[0];
  walk_to<1>(params.planes, i / params.y_sizes[1] / params.y_sizes[0], &place.plane);
  return place;
}

template <typename Params>
__device__ float pixel(const Operands& operands, const Params& params, int64_t plane, int64_t h,
                       int64_t w) {
  return load<float>(operands.at[0], plane + h * params.x_strides[0] + w * params.x_strides[1],
                     params.type);
}

/// Of a dim: from `begin` to before `end`.
struct Window {
  int64_t begin, end;

  __device__ int64_t size() const { return max(end - begin, int64_t{0}); }
};

__device__ float window_sum(const Operands& operands, const PoolParams& params, int64_t plane,
                            const Window& rows, const Window& columns) {
  float sum = 0;
  for (int64_t h = rows.begin; h < rows.end; ++h) {
    for (int64_t w = columns.begin; w < columns.end; ++w) {
      sum += pixel(operands, params, plane, h, w);
    }
  }
  return sum;
}

__device__ inline float area(const Window& rows, const Window& columns) {
  return static_cast<float>(static_cast<double>(rows.size()) * static_cast<double>(columns.size()));
}

/// Up to four neighbours along one dim, each with its weight.
struct Taps {
  int64_t places[4];
  float weights[4];
  int count;
};

__device__ Taps taps_of(const UpsampleParams& params, int d, int64_t place) {
  const int64_t last = params.x_sizes[d] - 1;
  const auto inside = [last](int64_t at) { return min(max(at, int64_t{0}), last); };
  const auto at = static_cast<float>(place);
  if (params.how == Upsampling::nearest) {
    return {{inside(static_cast<int64_t>(floorf(at * params.step[d])))}, {1.0f}, 1};
  }
  const float position =
      params.align_corners != 0 ? params.step[d] * at : params.step[d] * (at + 0.5f) - 0.5f;
  if (params.how == Upsampling::linear) {
    const float from = fmaxf(position, 0.0f);
    const int64_t first = inside(static_cast<int64_t>(from));
    const float rest = fminf(fmaxf(from - static_cast<float>(first), 0.0f), 1.0f);
    return {{first, inside(first + 1)}, {1 - rest, rest}, 2};
  }
  // Keys's cubic convolution
  constexpr float a = -0.75f;
  const auto near = [](float d) { return ((a + 2) * d - (a + 3)) * d * d + 1; };
  const auto far = [](float d) { return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a; };
  const float floored = floorf(position), rest = position - floored;
  const auto first = static_cast<int64_t>(floored);
  return {{inside(first - 1), inside(first), inside(first + 1), inside(first + 2)},
          {far(rest + 1), near(rest), near(1 - rest), far(2 - rest)},
          4};
}

}  // namespace

OSTINATO_KERNEL(max_pool, kThreads, PoolParams) {
  for (int64_t i = first_of_thread(); i < params.count; i += threads_of_grid()) {
    const Place place = place_of(params, i);
    const int64_t top = place.at[0] * params.stride[0] - params.padding[0];
    const int64_t left = place.at[1] * params.stride[1] - params.padding[1];
    float best = -INFINITY;
    int64_t where = -1;
    for (int64_t k = 0; k < params.kernel[0]; ++k) {
      const int64_t h = top + k * params.dilation[0];
      if (h < 0 || h >= params.x_sizes[0]) continue;
      for (int64_t j = 0; j < params.kernel[1]; ++j) {
        const int64_t w = left + j * params.dilation[1];
        if (w < 0 || w >= params.x_sizes[1]) continue;
        const float value = pixel(operands, params, place.plane, h, w);
        if (where < 0 || value > best || value != value) {
          best = value;
          where = h * params.x_sizes[1] + w;
        }
      }
    }
    store(operands.at[1], i, params.type, best);
    static_cast<int64_t*>(operands.at[2])[i] = where;
  }
}

OSTINATO_KERNEL(avg_pool, kThreads, PoolParams) {
  for (int64_t i = first_of_thread(); i < params.count; i += threads_of_grid()) {
    const Place place = place_of(params, i);
    Window padded[2], inside[2];
    OSTINATO_UNROLL
    for (int d = 0; d < 2; ++d) {
      // A window that hangs over the padding's end counts only up to there.
      const int64_t begin = place.at[d] * params.stride[d] - params.padding[d];
      padded[d] = {begin, min(begin + params.kernel[d], params.x_sizes[d] + params.padding[d])};
      inside[d] = {max(begin, int64_t{0}), min(padded[d].end, params.x_sizes[d])};
    }
    const float count = area(inside[0], inside[1]);
    const float divisor = params.divisor != 0         ? static_cast<float>(params.divisor)
                          : params.count_padding != 0 ? area(padded[0], padded[1])
                                                      : count;
    const float sum = window_sum(operands, params, place.plane, inside[0], inside[1]);
    store(operands.at[1], i, params.type, count == 0 ? 0.0f : sum / divisor);
  }
}

/// Windows of nearly equal size that cover the picture.
OSTINATO_KERNEL(adaptive_avg_pool, kThreads, PoolParams) {
  for (int64_t i = first_of_thread(); i < params.count; i += threads_of_grid()) {
    const Place place = place_of(params, i);
    Window windows[2];
    OSTINATO_UNROLL
    for (int d = 0; d < 2; ++d) {
      const int64_t from = params.x_sizes[d], to = params.y_sizes[d];
      windows[d] = {place.at[d] * from / to, ((place.at[d] + 1) * from + to - 1) / to};
    }
    const float sum = window_sum(operands, params, place.plane, windows[0], windows[1]);
    store(operands.at[1], i, params.type, sum / area(windows[0], windows[1]));
  }
}

OSTINATO_KERNEL(upsample, kThreads, UpsampleParams) {
  for (int64_t i = first_of_thread(); i < params.count; i += threads_of_grid()) {
    const Place place = place_of(params, i);
    const Taps rows = taps_of(params, 0, place.at[0]), columns = taps_of(params, 1, place.at[1]);
    float sum = 0;
    for (int r = 0; r < rows.count; ++r) {
      float line = 0;
      for (int c = 0; c < columns.count; ++c) {
        line += columns.weights[c] *
                pixel(operands, params, place.plane, rows.places[r], columns.places[c]);
      }
      sum += rows.weights[r] * line;
    }
    store(operands.at[1], i, params.type, sum);
  }
}

}  // namespace ostinato::cuda
