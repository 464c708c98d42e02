#include <algorithm>
#include <numeric>

#include "ostinato/device/cpu/reference/groups.h"

namespace ostinato::cpu::reference {

namespace {

// Writes the first elements of each sorted line, and where in the line they came from: as many as
// the results have. Equal elements keep their order.
template <typename T>
void sort_in(const Call& call, const View* sorted, const View& indices, bool descending) {
  const View& x = call.inputs[0];
  const int64_t dim = call.node.integer("dim");
  const std::vector<bool> marked = mark(dim, x.rank());
  const size_t axis =
      static_cast<size_t>(std::find(marked.begin(), marked.end(), true) - marked.begin());
  const int64_t count = x.rank() == 0 ? 1 : indices.size(axis);
  const auto step = [&](const View& y) { return x.rank() == 0 ? 0 : y.strides()[axis]; };
  for_each_group<T>(x, marked, x.dtype(),
                    [&](std::span<const int64_t> index, int64_t, std::span<const T> values) {
                      std::vector<size_t> order(values.size());
                      std::iota(order.begin(), order.end(), size_t{0});
                      std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
                        return descending ? precedes(values[b], values[a])
                                          : precedes(values[a], values[b]);
                      });
                      for (int64_t i = 0; i < count; ++i) {
                        const size_t from = order[static_cast<size_t>(i)];
                        indices.set_integer(indices.offset(index) + i * step(indices),
                                            static_cast<int64_t>(from));
                        if (sorted == nullptr) continue;
                        const int64_t to = sorted->offset(index) + i * step(*sorted);
                        if constexpr (std::is_same_v<T, float>) {
                          sorted->set(to, values[from]);
                        } else {
                          sorted->set_integer(to, values[from]);
                        }
                      }
                    });
}

void sort_by(const Call& call, bool descending) {
  const View* sorted = call.outputs.size() > 1 ? &call.outputs[0] : nullptr;
  is_floating(call.inputs[0].dtype())
      ? sort_in<float>(call, sorted, call.outputs.back(), descending)
      : sort_in<int64_t>(call, sorted, call.outputs.back(), descending);
}

void sort(const Call& call) { sort_by(call, call.node.flag("descending")); }
void topk(const Call& call) { sort_by(call, call.node.flag("largest")); }

}  // namespace

void add_sort(KernelTable& table) {
  for (const std::string_view name :
       {"aten.sort", "aten.sort.stable", "aten.argsort", "aten.argsort.stable"}) {
    table.add(name, device::Tier::reference, make<sort>);
  }
  table.add("aten.topk", device::Tier::reference, make<topk>);
}

}  // namespace ostinato::cpu::reference
