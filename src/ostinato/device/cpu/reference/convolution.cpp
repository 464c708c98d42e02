#include "ostinato/device/cpu/reference/product.h"

namespace ostinato::cpu::reference {

namespace {

// A convolution as a product of the weights (O, inner) and the image's patches (inner, places).
class Convolution {
 public:
  explicit Convolution(const Call& call)
      : x_(call.inputs[0]),
        weight_(call.inputs[1]),
        transposed_(call.node.flag("transposed")),
        stride_(per_dim(call.node, "stride")),
        padding_(per_dim(call.node, "padding")),
        dilation_(per_dim(call.node, "dilation")) {
    const View& y = call.outputs[0];
    places_.assign(y.sizes().begin() + 2, y.sizes().end());
    kernel_.assign(weight_.sizes().begin() + 2, weight_.sizes().end());
    const int64_t groups = call.node.integer("groups");
    group_inputs_ = x_.size(1) / groups;
    group_outputs_ = y.size(1) / groups;
    sizes_ = {x_.size(0) * groups, group_outputs_, group_inputs_ * product(kernel_),
              product(places_)};
    groups_ = groups;
  }

  const ProductSizes& sizes() const { return sizes_; }
  int64_t image(int64_t batch) const { return batch / groups_; }
  int64_t channel(int64_t batch, int64_t row) const {
    return batch % groups_ * group_outputs_ + row;
  }

  void read_weights(int64_t batch, int64_t row, int64_t k, int64_t count, float* to) const {
    const int64_t group = batch % groups_, taps = product(kernel_);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t input = (k + i) / taps;
      // (O, C / groups, ...), or transposed (C, O / groups, ...)
      const int64_t first = transposed_ ? group * group_inputs_ + input : channel(batch, row);
      const int64_t second = transposed_ ? row : input;
      int64_t offset = first * weight_.strides()[0] + second * weight_.strides()[1];
      int64_t tap = (k + i) % taps;
      for (size_t d = kernel_.size(); d-- > 0;) {
        offset += tap % kernel_[d] * weight_.strides()[2 + d];
        tap /= kernel_[d];
      }
      to[i] = weight_.get(offset);
    }
  }

  void read_patches(int64_t batch, int64_t k, int64_t inner, int64_t place, int64_t places,
                    int64_t pitch, float* to) const {
    const int64_t taps = product(kernel_);
    std::vector<int64_t> tap(kernel_.size()), at(kernel_.size());
    for (int64_t i = 0; i < inner; ++i) {
      const int64_t input = batch % groups_ * group_inputs_ + (k + i) / taps;
      const int64_t plane = image(batch) * x_.strides()[0] + input * x_.strides()[1];
      unravel((k + i) % taps, kernel_, tap);
      unravel(place, places_, at);
      for (int64_t j = 0; j < places; ++j) {
        const int64_t offset = offset_of(tap, at);
        to[i * pitch + j] = offset < 0 ? 0.0f : x_.get(plane + offset);
        for (size_t d = at.size(); d-- > 0 && ++at[d] == places_[d];) at[d] = 0;
      }
    }
  }

 private:
  static std::vector<int64_t> per_dim(const ir::Node& node, std::string_view name) {
    std::vector<int64_t> values = node.integers(name);
    if (values.size() == 1) values.resize(node.operands[0]->rank() - 2, values[0]);
    return values;
  }

  static int64_t product(const std::vector<int64_t>& sizes) {
    int64_t total = 1;
    for (int64_t size : sizes) total *= size;
    return total;
  }

  static void unravel(int64_t position, const std::vector<int64_t>& sizes,
                      std::vector<int64_t>& index) {
    for (size_t d = sizes.size(); d-- > 0;) {
      index[d] = position % sizes[d];
      position /= sizes[d];
    }
  }

  // Where in the image's plane a tap of the kernel at a place of the result falls; -1 for nowhere.
  int64_t offset_of(const std::vector<int64_t>& tap, const std::vector<int64_t>& at) const {
    int64_t offset = 0;
    for (size_t d = 0; d < tap.size(); ++d) {
      int64_t position = 0;
      if (transposed_) {
        const int64_t reached = at[d] + padding_[d] - tap[d] * dilation_[d];
        if (reached < 0 || reached % stride_[d] != 0) return -1;
        position = reached / stride_[d];
      } else {
        position = at[d] * stride_[d] - padding_[d] + tap[d] * dilation_[d];
      }
      if (position < 0 || position >= x_.size(2 + d)) return -1;
      offset += position * x_.strides()[2 + d];
    }
    return offset;
  }

  const View &x_, &weight_;
  const bool transposed_;
  const std::vector<int64_t> stride_, padding_, dilation_;
  std::vector<int64_t> places_, kernel_;
  int64_t groups_ = 1, group_inputs_ = 0, group_outputs_ = 0;
  ProductSizes sizes_{};
};

void convolution(const Call& call) {
  const View &bias = call.inputs[2], &y = call.outputs[0];
  const Convolution convolution(call);
  multiply_blocks(
      convolution.sizes(), call.worker,
      [&](int64_t batch, int64_t row, int64_t k, int64_t count, float* to) {
        convolution.read_weights(batch, row, k, count, to);
      },
      [&](int64_t batch, int64_t k, int64_t inner, int64_t place, int64_t places, int64_t pitch,
          float* to) { convolution.read_patches(batch, k, inner, place, places, pitch, to); },
      [&](int64_t batch, int64_t row, int64_t place, int64_t count, const float* sums) {
        const int64_t channel = convolution.channel(batch, row);
        const float added = bias ? bias.get(channel * bias.strides()[0]) : 0.0f;
        const int64_t plane = convolution.image(batch) * y.size(1) + channel;
        const int64_t first = plane * convolution.sizes().columns + place;
        for (int64_t j = 0; j < count; ++j) y.set(y.offset_of(first + j), sums[j] + added);
      });
}

}  // namespace

void add_convolution(KernelTable& table) {
  table.add("aten.convolution", device::Tier::reference, make<convolution, true>);
}

}  // namespace ostinato::cpu::reference
