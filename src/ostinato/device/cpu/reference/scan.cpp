#include "ostinato/device/cpu/reference/groups.h"

namespace ostinato::cpu::reference {

namespace {

// y[i] = x[0] ∘ … ∘ x[i] along `dim`; `Running` is what it is computed in: a double for floats, an
// integer that wraps for integers.
template <typename T, typename Running, bool product>
void scan_in(const Call& call) {
  const View &x = call.inputs[0], &y = call.outputs[0];
  const int64_t dim = call.node.integer("dim");
  const size_t axis = static_cast<size_t>(dim < 0 ? dim + static_cast<int64_t>(y.rank()) : dim);
  const int64_t stride = y.rank() == 0 ? 0 : y.strides()[axis];
  for_each_group<T>(x, mark(dim, x.rank()), y.dtype(),
                    [&](std::span<const int64_t> index, int64_t, std::span<const T> values) {
                      int64_t to = y.offset(index);
                      Running running = product ? 1 : 0;
                      for (const T value : values) {
                        if (product) {
                          running *= static_cast<Running>(value);
                        } else {
                          running += static_cast<Running>(value);
                        }
                        if constexpr (std::is_same_v<T, float>) {
                          y.set(to, static_cast<float>(running));
                        } else {
                          y.set_integer(to, static_cast<int64_t>(running));
                        }
                        to += stride;
                      }
                    });
}

template <bool product>
void scan(const Call& call) {
  is_floating(call.outputs[0].dtype()) ? scan_in<float, double, product>(call)
                                       : scan_in<int64_t, uint64_t, product>(call);
}

}  // namespace

void add_scan(KernelTable& table) {
  table.add("aten.cumsum", device::Tier::reference, make<scan<false>>);
  table.add("aten.cumprod", device::Tier::reference, make<scan<true>>);
}

}  // namespace ostinato::cpu::reference
