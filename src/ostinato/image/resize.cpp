#include "ostinato/image/resize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <vector>

#include "ostinato/base/error.h"

namespace ostinato::image {

namespace {

constexpr int64_t kChannels = 3;

double sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

double box(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }

double triangle(double x) { return std::max(0.0, 1.0 - std::abs(x)); }

double hamming(double x) {
  x = std::abs(x);
  return x < 1.0 ? sinc(x) * (0.54 + 0.46 * std::cos(x * std::numbers::pi)) : 0.0;
}

/// Keys' cubic convolution with a = -0.5.
double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

double lanczos(double x) { return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0; }

struct Kernel {
  double (*value)(double);
  double support;  ///< beyond it the value is zero
};

Kernel kernel_of(Filter filter) {
  switch (filter) {
    case Filter::lanczos: return {lanczos, 3.0};
    case Filter::bilinear: return {triangle, 1.0};
    case Filter::bicubic: return {cubic, 2.0};
    case Filter::box: return {box, 0.5};
    case Filter::hamming: return {hamming, 1.0};
    case Filter::nearest: break;
  }
  fail(ErrorCode::internal, "image/resize", "Report this defect.", "no kernel for the filter");
}

/// Of every output pixel along one axis: the inputs it is the weighted mean of.
struct Taps {
  struct Range {
    int64_t first;
    int64_t count;
  };
  int64_t stride;  ///< weights from one output pixel to the next
  std::vector<Range> ranges;
  std::vector<int32_t> weights;  ///< fixed point

  const int32_t* weights_of(int64_t output) const { return weights.data() + output * stride; }
};

// Two bits of head room: negative weights let a sum leave 0…255 before it is clipped.
constexpr int kFractionBits = 32 - 8 - 2;
constexpr int32_t kHalf = 1 << (kFractionBits - 1);

Taps taps_of(int64_t input, int64_t output, const Kernel& kernel) {
  const double scale = static_cast<double>(input) / static_cast<double>(output);
  const double stretch = std::max(scale, 1.0);
  const double support = kernel.support * stretch;
  Taps taps{static_cast<int64_t>(std::ceil(support)) * 2 + 1, {}, {}};
  taps.ranges.reserve(static_cast<size_t>(output));
  taps.weights.resize(static_cast<size_t>(output * taps.stride));
  std::vector<double> values(static_cast<size_t>(taps.stride));
  for (int64_t i = 0; i < output; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const auto first =
        std::max<int64_t>(static_cast<int64_t>(std::floor(centre - support + 0.5)), 0);
    const auto last =
        std::min<int64_t>(static_cast<int64_t>(std::floor(centre + support + 0.5)), input);
    double sum = 0.0;
    for (int64_t j = first; j < last; ++j) {
      const double value = kernel.value((static_cast<double>(j) - centre + 0.5) * (1.0 / stretch));
      values[static_cast<size_t>(j - first)] = value;
      sum += value;
    }
    for (int64_t j = 0; j < last - first; ++j) {
      const double weight = values[static_cast<size_t>(j)] / (sum == 0.0 ? 1.0 : sum);
      const double fixed = weight * (1 << kFractionBits);
      taps.weights[static_cast<size_t>(i * taps.stride + j)] =
          static_cast<int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    }
    taps.ranges.push_back({first, last - first});
  }
  return taps;
}

uint8_t to_byte(int32_t fixed) {
  return static_cast<uint8_t>(std::clamp(fixed >> kFractionBits, 0, 255));
}

Picture resize_columns(const Picture& picture, int64_t width, const Kernel& kernel) {
  const Taps taps = taps_of(picture.width, width, kernel);
  Picture result{width, picture.height, {}};
  result.rgb.resize(static_cast<size_t>(width * picture.height * kChannels));
  uint8_t* target = result.rgb.data();
  for (int64_t y = 0; y < picture.height; ++y) {
    const uint8_t* row = picture.rgb.data() + y * picture.width * kChannels;
    for (int64_t x = 0; x < width; ++x, target += kChannels) {
      const auto [first, count] = taps.ranges[static_cast<size_t>(x)];
      const int32_t* weights = taps.weights_of(x);
      const uint8_t* source = row + first * kChannels;
      std::array<int32_t, kChannels> sums = {kHalf, kHalf, kHalf};
      for (int64_t i = 0; i < count; ++i, source += kChannels) {
        for (size_t c = 0; c < kChannels; ++c) sums[c] += source[c] * weights[i];
      }
      for (size_t c = 0; c < kChannels; ++c) target[c] = to_byte(sums[c]);
    }
  }
  return result;
}

Picture resize_rows(const Picture& picture, int64_t height, const Kernel& kernel) {
  const Taps taps = taps_of(picture.height, height, kernel);
  const int64_t row_bytes = picture.width * kChannels;
  Picture result{picture.width, height, {}};
  result.rgb.resize(static_cast<size_t>(height * row_bytes));
  std::vector<int32_t> sums(static_cast<size_t>(row_bytes));
  for (int64_t y = 0; y < height; ++y) {
    const auto [first, count] = taps.ranges[static_cast<size_t>(y)];
    const int32_t* weights = taps.weights_of(y);
    std::fill(sums.begin(), sums.end(), kHalf);
    for (int64_t i = 0; i < count; ++i) {
      const uint8_t* source = picture.rgb.data() + (first + i) * row_bytes;
      for (int64_t x = 0; x < row_bytes; ++x) {
        sums[static_cast<size_t>(x)] += source[x] * weights[i];
      }
    }
    std::transform(sums.begin(), sums.end(), result.rgb.begin() + y * row_bytes, to_byte);
  }
  return result;
}

/// The inputs nearest to the outputs' centres. The step is summed up as PIL does, so that ties
/// fall to the same side.
std::vector<int64_t> nearest_inputs(int64_t input, int64_t output) {
  const double step = static_cast<double>(input) / static_cast<double>(output);
  std::vector<int64_t> inputs(static_cast<size_t>(output));
  double position = step * 0.5;
  for (int64_t& index : inputs) {
    index = std::min(static_cast<int64_t>(position), input - 1);
    position += step;
  }
  return inputs;
}

Picture resize_nearest(const Picture& picture, int64_t width, int64_t height) {
  const auto columns = nearest_inputs(picture.width, width);
  const auto rows = nearest_inputs(picture.height, height);
  Picture result{width, height, {}};
  result.rgb.reserve(static_cast<size_t>(width * height * kChannels));
  for (int64_t row : rows) {
    for (int64_t column : columns) {
      const uint8_t* pixel = picture.rgb.data() + (row * picture.width + column) * kChannels;
      result.rgb.insert(result.rgb.end(), pixel, pixel + kChannels);
    }
  }
  return result;
}

}  // namespace

Picture resize(const Picture& picture, int64_t width, int64_t height, Filter filter) {
  if (width < 1 || height < 1 || width > kMaxPixels / height) {
    fail(ErrorCode::invalid_argument, "image/resize",
         "Use a picture whose sides differ less, or another size.",
         "expected a size of 1 to {} pixels for a picture of {}×{}, got {}×{}", kMaxPixels,
         picture.width, picture.height, width, height);
  }
  if (width == picture.width && height == picture.height) return picture;
  if (filter == Filter::nearest) return resize_nearest(picture, width, height);
  const Kernel kernel = kernel_of(filter);
  if (width == picture.width) return resize_rows(picture, height, kernel);
  Picture columns = resize_columns(picture, width, kernel);
  return height == picture.height ? columns : resize_rows(columns, height, kernel);
}

}  // namespace ostinato::image
