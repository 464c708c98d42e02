#include <cmath>
#include <limits>

#include "ostinato/device/cpu/reference/reference.h"

namespace ostinato::cpu::reference {

namespace {

// y = exp(x - max) / sum(exp(x - max)) along `dim`, or its logarithm.
template <bool logarithm>
void softmax(const Call& call) {
  const View& x = call.inputs[0];
  const View& y = call.outputs[0];
  const int64_t dim = call.node.integer("dim");
  const size_t axis = static_cast<size_t>(dim < 0 ? dim + static_cast<int64_t>(x.rank()) : dim);
  const int64_t length = x.rank() == 0 ? 1 : x.size(axis);
  const int64_t x_stride = x.rank() == 0 ? 0 : x.strides()[axis];
  const int64_t y_stride = x.rank() == 0 ? 0 : y.strides()[axis];
  std::vector<int64_t> rows = x.sizes();
  if (!rows.empty()) rows[axis] = length > 0 ? 1 : 0;
  for_each_index(rows, [&](std::span<const int64_t> index, int64_t) {
    const int64_t from = x.offset(index), to = y.offset(index);
    float max = -std::numeric_limits<float>::infinity();
    for (int64_t i = 0; i < length; ++i) max = std::fmax(max, x.get(from + i * x_stride));
    float sum = 0;
    for (int64_t i = 0; i < length; ++i) sum += std::exp(x.get(from + i * x_stride) - max);
    for (int64_t i = 0; i < length; ++i) {
      const float shifted = x.get(from + i * x_stride) - max;
      y.set(to + i * y_stride, logarithm ? shifted - std::log(sum) : std::exp(shifted) / sum);
    }
  });
}

}  // namespace

void add_softmax(KernelTable& table) {
  table.add("aten._softmax", device::Tier::reference, make<softmax<false>>);
  table.add("aten._log_softmax", device::Tier::reference, make<softmax<true>>);
}

}  // namespace ostinato::cpu::reference
