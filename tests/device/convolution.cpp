#include "device/kernel_case.h"

namespace ostinato::cpu {
namespace {

using Sizes = std::vector<int64_t>;

struct ConvolutionCase {
  Sizes input, weight;  // weight (O, C / groups, ...), or transposed (C, O / groups, ...)
  Sizes stride, padding, dilation;
  int64_t groups = 1;
  bool transposed = false;
  Sizes output_padding = {0};
};

const ConvolutionCase kCases[] = {
    {{2, 3, 32, 32}, {40, 3, 16, 16}, {16}, {0}, {1}},        // patches
    {{1, 5, 13, 17}, {7, 5, 3, 3}, {1}, {1}, {1}},            // padded, odd everywhere
    {{2, 4, 11, 9}, {6, 4, 3, 2}, {2, 3}, {1, 0}, {2, 1}},    // strides, dilation
    {{1, 8, 10, 10}, {8, 1, 3, 3}, {1}, {1}, {1}, 8},         // depthwise
    {{2, 6, 7, 5}, {4, 3, 1, 1}, {1}, {0}, {1}, 2},           // groups of single pixels
    {{2, 3, 50}, {9, 3, 5}, {2}, {2}, {1}},                   // a signal
    {{1, 2, 4, 5, 6}, {3, 2, 2, 3, 2}, {1, 2, 1}, {1}, {1}},  // a volume
    {{1, 4, 5, 6}, {4, 3, 3, 2}, {2, 3}, {1, 0}, {1}, 1, true},
    {{2, 6, 5, 4}, {6, 2, 3, 3}, {1}, {2}, {2}, 2, true},
    {{1, 3, 9}, {3, 5, 4}, {3}, {1}, {1}, 1, true, {2}},
    {{1, 1, 1, 1}, {1, 1, 1, 1}, {1}, {0}, {1}},
    {{0, 3, 8, 8}, {4, 3, 3, 3}, {1}, {1}, {1}},   // no picture
    {{1, 2, 3, 3}, {70, 2, 3, 3}, {1}, {3}, {1}},  // more padding than picture
};

class ConvolutionTest : public KernelTest {
 protected:
  void expect(const ConvolutionCase& c, bool constant, bool bias, Storage storage) const {
    Draw input{.dtype = dtype(), .sizes = c.input, .storage = storage};
    Draw weight{.dtype = dtype(), .sizes = c.weight, .storage = storage, .constant = constant};
    std::optional<Draw> addend;
    const int64_t outputs = c.transposed ? c.weight[1] * c.groups : c.weight[0];
    if (bias) addend = Draw{.dtype = dtype(), .sizes = {outputs}, .storage = storage};
    expect_fast_equals_reference({"aten.convolution",
                                  {input, weight, addend},
                                  {{"stride", shape(c.stride)},
                                   {"padding", shape(c.padding)},
                                   {"dilation", shape(c.dilation)},
                                   {"transposed", c.transposed},
                                   {"output_padding", shape(c.output_padding)},
                                   {"groups", c.groups}},
                                  "matmul"});
  }
  static ir::Shape shape(const Sizes& sizes) { return {sizes.begin(), sizes.end()}; }
};

TEST_P(ConvolutionTest, EveryCase) {
  for (const ConvolutionCase& c : kCases) {
    for (bool constant : {false, true}) {
      for (bool bias : {false, true}) expect(c, constant, bias, Storage::contiguous);
      expect(c, constant, true, Storage::permuted);
      expect(c, constant, true, Storage::sliced);
    }
  }
}

OSTINATO_KERNEL_TESTS(ConvolutionTest);

}  // namespace
}  // namespace ostinato::cpu
