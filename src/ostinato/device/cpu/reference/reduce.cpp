#include "ostinato/ops/reduce.h"

#include <algorithm>
#include <cmath>

#include "ostinato/device/cpu/reference/groups.h"

namespace ostinato::cpu::reference {

namespace {

// Sums run in double: an oracle's sum should not depend on the order of its terms.
using Floats = std::span<const float>;
using Integers = std::span<const int64_t>;

// y = f(group) where f takes floats and integers alike and the results are of y's dtype.
template <typename T, typename F>
void reduce_in(const Call& call, DType dtype, F&& f) {
  const View& y = call.outputs[0];
  for_each_group<T>(call.inputs[0], ops::reduced_dims(call.node), dtype,
                    [&](std::span<const int64_t>, int64_t position, std::span<const T> values) {
                      const auto result = f(values);
                      if constexpr (std::is_integral_v<decltype(result)>) {
                        y.set_integer(y.offset_of(position), result);
                      } else {
                        y.set(y.offset_of(position), static_cast<float>(result));
                      }
                    });
}

template <typename Op>
void reduce(const Call& call) {
  const DType dtype = call.outputs[0].dtype();
  if (is_floating(dtype) || dtype == DType::boolean) {
    reduce_in<float>(call, dtype, Op());
  } else {
    reduce_in<int64_t>(call, dtype, Op());
  }
}

struct Sum {
  double operator()(Floats values) const {
    double sum = 0;
    for (const float value : values) sum += value;
    return sum;
  }
  int64_t operator()(Integers values) const {
    uint64_t sum = 0;  // wraps
    for (const int64_t value : values) sum += static_cast<uint64_t>(value);
    return static_cast<int64_t>(sum);
  }
};

struct Product {
  double operator()(Floats values) const {
    double product = 1;
    for (const float value : values) product *= value;
    return product;
  }
  int64_t operator()(Integers values) const {
    uint64_t product = 1;  // wraps
    for (const int64_t value : values) product *= static_cast<uint64_t>(value);
    return static_cast<int64_t>(product);
  }
};

double mean_of(Floats values) { return Sum()(values) / static_cast<double>(values.size()); }

void mean(const Call& call) { reduce_in<float>(call, call.outputs[0].dtype(), mean_of); }

double variance_of(Floats values, double correction) {
  const double mean = mean_of(values);
  double squares = 0;
  for (const float value : values) squares += (value - mean) * (value - mean);
  return squares / std::max(0.0, static_cast<double>(values.size()) - correction);
}

double correction_of(const ir::Node& node) {
  if (node.op->name == "aten.var.dim") return node.flag("unbiased") ? 1 : 0;
  return node.has("correction") ? node.real("correction") : 1;
}

void variance(const Call& call) {
  const double correction = correction_of(call.node);
  reduce_in<float>(call, call.inputs[0].dtype(),
                   [correction](Floats values) { return variance_of(values, correction); });
}

void deviation(const Call& call) {
  const double correction = correction_of(call.node);
  reduce_in<float>(call, call.inputs[0].dtype(), [correction](Floats values) {
    return std::sqrt(variance_of(values, correction));
  });
}

void variance_and_mean(const Call& call) {
  variance(call);
  const View means = call.outputs[1];
  reduce_in<float>({call.node, call.inputs, {&means, 1}, call.worker, call.fault},
                   call.inputs[0].dtype(), mean_of);
}

// Where the first of the greatest (or least) is. NaN beats all.
template <typename T, bool greatest>
size_t extremum(std::span<const T> values) {
  size_t best = 0;
  for (size_t i = 1; i < values.size(); ++i) {
    if (values[best] != values[best]) break;
    const bool better = greatest ? values[i] > values[best] : values[i] < values[best];
    if (better || values[i] != values[i]) best = i;
  }
  return best;
}

// (values, indices), or values alone
template <typename T, bool greatest>
void extrema_in(const Call& call) {
  const View &x = call.inputs[0], &y = call.outputs[0];
  for_each_group<T>(x, ops::reduced_dims(call.node), x.dtype(),
                    [&](std::span<const int64_t>, int64_t position, std::span<const T> values) {
                      const size_t best = extremum<T, greatest>(values);
                      if constexpr (std::is_same_v<T, float>) {
                        y.set(y.offset_of(position), values[best]);
                      } else {
                        y.set_integer(y.offset_of(position), values[best]);
                      }
                      if (call.outputs.size() == 1) return;
                      const View& indices = call.outputs[1];
                      indices.set_integer(indices.offset_of(position), static_cast<int64_t>(best));
                    });
}

template <bool greatest>
void extrema(const Call& call) {
  is_floating(call.inputs[0].dtype()) ? extrema_in<float, greatest>(call)
                                      : extrema_in<int64_t, greatest>(call);
}

template <bool greatest>
void arg_extremum(const Call& call) {
  const DType dtype = call.inputs[0].dtype();
  const auto index_of = [](auto values) {
    using T = std::remove_const_t<typename decltype(values)::element_type>;
    return static_cast<int64_t>(extremum<T, greatest>(values));
  };
  is_floating(dtype) ? reduce_in<float>(call, dtype, index_of)
                     : reduce_in<int64_t>(call, dtype, index_of);
}

template <bool all>
void any_or_all(const Call& call) {
  reduce_in<float>(call, call.inputs[0].dtype(), [](Floats values) {
    const auto is_true = [](float value) { return value != 0; };
    return int64_t{all ? std::all_of(values.begin(), values.end(), is_true)
                       : std::any_of(values.begin(), values.end(), is_true)};
  });
}

double norm_of(Floats values, double order) {
  if (std::isinf(order)) {
    float extreme = std::fabs(values[0]);
    for (const float value : values) {
      const float size = std::fabs(value);
      extreme = order > 0 ? larger(extreme, size) : smaller(extreme, size);
    }
    return extreme;
  }
  double sum = 0;
  for (const float value : values) {
    const double size = std::fabs(value);
    sum += order == 0 ? static_cast<double>(size != 0) : std::pow(size, order);
  }
  return order == 0 ? sum : std::pow(sum, 1 / order);
}

void vector_norm(const Call& call) {
  const double order = call.node.real("ord");
  reduce_in<float>(call, call.outputs[0].dtype(),
                   [order](Floats values) { return norm_of(values, order); });
}

// The range that the bins share out: as given, or when that is empty the values' own.
std::pair<float, float> histogram_range(const Call& call, Floats values) {
  float min = static_cast<float>(call.node.real("min"));
  float max = static_cast<float>(call.node.real("max"));
  if (min == max && !values.empty()) {
    min = max = values[0];
    for (const float value : values) {
      min = smaller(min, value);
      max = larger(max, value);
    }
  }
  return min == max ? std::pair(min - 1, max + 1) : std::pair(min, max);
}

void histogram(const Call& call) {
  const View &x = call.inputs[0], &y = call.outputs[0];
  const std::vector<float> values = x.to_floats();
  const auto [min, max] = histogram_range(call, values);
  std::vector<float> counts(static_cast<size_t>(y.numel()), 0);
  if (!std::isfinite(min) || !std::isfinite(max) || min == max) {
    call.fault->store(&call.node, std::memory_order_relaxed);
    return y.from_floats(counts);
  }
  for (const float value : values) {
    if (!(value >= min && value <= max)) continue;
    // In double: the difference of two floats may be no float.
    const double place =
        (double{value} - min) / (double{max} - min) * static_cast<double>(counts.size());
    ++counts[std::min(static_cast<size_t>(place), counts.size() - 1)];
  }
  y.from_floats(counts);
}

}  // namespace

void add_reduce(KernelTable& table) {
  const auto add = [&table](std::initializer_list<std::string_view> names, Factory make) {
    for (const std::string_view name : names) table.add(name, device::Tier::reference, make);
  };
  add({"aten.sum", "aten.sum.dim_IntList"}, make<reduce<Sum>>);
  add({"aten.prod", "aten.prod.dim_int"}, make<reduce<Product>>);
  add({"aten.mean", "aten.mean.dim"}, make<mean>);
  add({"aten.var.correction", "aten.var.dim"}, make<variance>);
  add({"aten.std.correction"}, make<deviation>);
  add({"aten.var_mean.correction"}, make<variance_and_mean>);
  add({"aten.amax", "aten.max", "aten.max.dim"}, make<extrema<true>>);
  add({"aten.amin", "aten.min", "aten.min.dim"}, make<extrema<false>>);
  add({"aten.argmax"}, make<arg_extremum<true>>);
  add({"aten.argmin"}, make<arg_extremum<false>>);
  add({"aten.any", "aten.any.dim", "aten.any.dims"}, make<any_or_all<false>>);
  add({"aten.all", "aten.all.dim", "aten.all.dims"}, make<any_or_all<true>>);
  add({"aten.linalg_vector_norm"}, make<vector_norm>);
  add({"aten.histc"}, make<histogram>);
}

}  // namespace ostinato::cpu::reference
