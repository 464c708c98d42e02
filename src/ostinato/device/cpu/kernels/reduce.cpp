#include "ostinato/ops/reduce.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ostinato/base/dtype.h"
#include "ostinato/device/cpu/kernels/fold.h"
#include "ostinato/device/cpu/kernels/kernels.h"

namespace ostinato::cpu {

namespace {

int workers_for_elements(int64_t elements, int threads) {
  constexpr double kMicrosecondsPerElement = 0.2e-3;
  return workers_for(static_cast<double>(elements) * kMicrosecondsPerElement, threads);
}

class ReduceKernel final : public Kernel {
 public:
  ReduceKernel(const device::Request& request, const Groups& groups, const Reduction& reduction,
               DType dtype)
      : groups_(groups), reduction_(reduction), fold_(fold_functions(reduction.fold, dtype)) {
    const DType output = request.outputs[0].dtype;
    output_size_ = static_cast<int64_t>(size_of(output));
    real_ = is_floating(dtype);
    put_ = find_convert(real_ ? DType::float32 : DType::int64, output);
    const int64_t element = groups_.element_size();
    const auto adjacent = [element](const Loops& loops) {
      return loops.inner() > 1 && loops.inner_strides()[0] == element;
    };
    by_column_ = fold_.columns != nullptr && !groups_.converts() && adjacent(groups_.kept()) &&
                 !adjacent(groups_.within());
    workers_ = workers_for_elements(request.inputs[0]->numel(), request.threads);
  }

  void run(const Args& args, Worker worker) const override {
    const char* x = static_cast<const char*>(args.inputs[0]);
    char* y = static_cast<char*>(args.outputs[0]);
    if (by_column_) return run_columns(x, y, worker);
    const Range range = part_of(groups_.count(), worker);
    ElementCursor cursor(groups_.kept(), range.begin);
    for (int64_t i = range.begin; i < range.end; ++i, cursor.next()) {
      Folded folded = fold_.start;
      groups_.for_pieces(x + cursor.offset(0), Groups::kChunk,
                         [&](const void* piece, int64_t count, int64_t) {
                           fold_.row(piece, count, reduction_.parameter, folded);
                         });
      if (real_) {
        const float value = reduction_.finish(folded.real);
        put_(&value, y + i * output_size_, 1);
      } else {
        put_(&folded.integer, y + i * output_size_, 1);
      }
    }
  }

 private:
  // Groups that start side by side are folded side by side, a band of them at a time.
  void run_columns(const char* x, char* y, Worker worker) const {
    constexpr int64_t kBand = 256;
    const Loops& kept = groups_.kept();
    const int64_t columns = kept.inner(), bands = (columns + kBand - 1) / kBand;
    const Range range = part_of(kept.rows() * bands, worker);
    for (int64_t unit = range.begin; unit < range.end; ++unit) {
      const int64_t row = unit / bands, first = unit % bands * kBand;
      const int64_t count = std::min(kBand, columns - first);
      const RowCursor start(kept, row);
      const char* band = x + start.offset(0) + first * groups_.element_size();
      alignas(64) float folded[kBand];
      std::fill_n(folded, count, fold_.start.real);
      ElementCursor cursor(groups_.within(), 0);
      for (int64_t i = groups_.length(); i > 0; --i, cursor.next()) {
        fold_.columns(band + cursor.offset(0), count, reduction_.parameter, folded);
      }
      for (int64_t i = 0; i < count; ++i) folded[i] = reduction_.finish(folded[i]);
      put_(folded, y + (row * columns + first) * output_size_, count);
    }
  }

  Groups groups_;
  Reduction reduction_;
  FoldFunctions fold_;
  bool real_ = true, by_column_ = false;
  int64_t output_size_;
  Convert put_;
};

std::unique_ptr<Kernel> make_reduction(const device::Request& request, const Reduction& reduction,
                                       DType dtype) {
  const device::TensorDesc& x = *request.inputs[0];
  const auto groups = Groups::make(x, ops::reduced_dims(*request.node), dtype);
  if (!groups) return nullptr;
  Reduction scaled = reduction;
  // A mean is a sum with no scale yet.
  if (scaled.scale == 0) scaled.scale = 1.0 / static_cast<double>(groups->length());
  return std::make_unique<ReduceKernel>(request, *groups, scaled, dtype);
}

DType dtype_of(const device::Request& request) {
  return fold_dtype(request.inputs[0]->dtype, request.outputs[0].dtype);
}

template <Fold fold>
std::unique_ptr<Kernel> make_fold(const device::Request& request) {
  return make_reduction(request, {.fold = fold}, dtype_of(request));
}

template <Fold fold>
std::unique_ptr<Kernel> make_bools(const device::Request& request) {
  return make_reduction(request, {.fold = fold}, DType::boolean);
}

// Sums and products of truth values, to which other elements are converted first.
template <Fold fold, Fold of_bools>
std::unique_ptr<Kernel> make_total(const device::Request& request) {
  const bool bools = request.outputs[0].dtype == DType::boolean;
  return bools ? make_bools<of_bools>(request) : make_fold<fold>(request);
}

std::unique_ptr<Kernel> make_mean(const device::Request& request) {
  return make_reduction(request, {.fold = Fold::sum, .scale = 0}, dtype_of(request));
}

std::unique_ptr<Kernel> make_norm(const device::Request& request) {
  const double order = request.node->real("ord");
  Reduction reduction{.fold = Fold::powers, .parameter = static_cast<float>(order), .root = order};
  if (order == 0) reduction = {.fold = Fold::nonzeros};
  if (order == 1) reduction = {.fold = Fold::absolutes};
  if (order == 2) reduction = {.fold = Fold::squares, .root = 2};
  if (std::isinf(order)) reduction = {.fold = order > 0 ? Fold::max_absolute : Fold::min_absolute};
  return make_reduction(request, reduction, dtype_of(request));
}

/// Variance, or its root, and the mean as a second result where the operator has one.
class VarianceKernel final : public Kernel {
 public:
  VarianceKernel(const device::Request& request, const Groups& groups, double correction, bool root)
      : groups_(groups),
        root_(root),
        sum_(fold_functions(Fold::sum, request.inputs[0]->dtype)),
        deviations_(fold_functions(Fold::deviations, request.inputs[0]->dtype)) {
    const double length = static_cast<double>(groups.length());
    length_ = static_cast<float>(length);
    divisor_ = static_cast<float>(std::max(0.0, length - correction));
    output_size_ = static_cast<int64_t>(size_of(request.outputs[0].dtype));
    put_ = find_convert(DType::float32, request.outputs[0].dtype);
    means_ = request.outputs.size() > 1;
    workers_ = workers_for_elements(2 * request.inputs[0]->numel(), request.threads);
  }

  void run(const Args& args, Worker worker) const override {
    const Range range = part_of(groups_.count(), worker);
    ElementCursor cursor(groups_.kept(), range.begin);
    for (int64_t i = range.begin; i < range.end; ++i, cursor.next()) {
      const char* group = at(static_cast<const void*>(args.inputs[0]), cursor.offset(0));
      const float mean = fold(sum_, group, 0) / length_;
      float variance = fold(deviations_, group, mean) / divisor_;
      if (root_) variance = std::sqrt(variance);
      put_(&variance, at(args.outputs[0], i * output_size_), 1);
      if (means_) put_(&mean, at(args.outputs[1], i * output_size_), 1);
    }
  }

 private:
  float fold(const FoldFunctions& functions, const char* group, float parameter) const {
    Folded folded = functions.start;
    groups_.for_pieces(group, std::numeric_limits<int64_t>::max(),
                       [&](const void* piece, int64_t count, int64_t) {
                         functions.row(piece, count, parameter, folded);
                       });
    return folded.real;
  }

  Groups groups_;
  bool root_, means_;
  FoldFunctions sum_, deviations_;
  float length_, divisor_;
  int64_t output_size_;
  Convert put_;
};

double correction_of(const ir::Node& node) {
  if (node.op->name == "aten.var.dim") return node.flag("unbiased") ? 1 : 0;
  return node.has("correction") ? node.real("correction") : 1;
}

template <bool root>
std::unique_ptr<Kernel> make_variance(const device::Request& request) {
  const device::TensorDesc& x = *request.inputs[0];
  const auto groups = Groups::make(x, ops::reduced_dims(*request.node), x.dtype);
  if (!groups) return nullptr;
  return std::make_unique<VarianceKernel>(request, *groups, correction_of(*request.node), root);
}

/// The first place of the greatest or least element, and the element itself.
class ExtremumKernel final : public Kernel {
 public:
  ExtremumKernel(const device::Request& request, const Groups& groups, bool greatest, DType dtype,
                 std::optional<size_t> values, size_t places)
      : groups_(groups),
        fold_(fold_functions(greatest ? Fold::max : Fold::min, dtype)),
        dtype_(dtype),
        greatest_(greatest),
        values_(values),
        places_(places) {
    if (values_) {
      const DType stored = request.outputs[*values_].dtype;
      value_size_ = static_cast<int64_t>(size_of(stored));
      put_ = find_convert(is_floating(dtype) ? DType::float32 : DType::int64, stored);
    }
    workers_ = workers_for_elements(request.inputs[0]->numel(), request.threads);
  }

  void run(const Args& args, Worker worker) const override {
    const Range range = part_of(groups_.count(), worker);
    ElementCursor cursor(groups_.kept(), range.begin);
    for (int64_t i = range.begin; i < range.end; ++i, cursor.next()) {
      const char* group = at(static_cast<const void*>(args.inputs[0]), cursor.offset(0));
      Folded best;
      const int64_t place = find(group, best);
      static_cast<int64_t*>(args.outputs[places_])[i] = place;
      if (!values_) continue;
      char* value = at(args.outputs[*values_], i * value_size_);
      if (is_floating(dtype_)) {
        put_(&best.real, value, 1);
      } else {
        put_(&best.integer, value, 1);
      }
    }
  }

 private:
  // First the piece that has it, by vectors; then its place in there, one by one.
  int64_t find(const char* group, Folded& best) const {
    const auto none_yet = std::numeric_limits<int64_t>::max();
    int64_t best_piece = none_yet, place = none_yet;
    groups_.for_pieces(group, Groups::kChunk, [&](const void* x, int64_t count, int64_t position) {
      Folded folded = fold_.start;
      fold_.row(x, count, 0, folded);
      if (best_piece != none_yet && !better(folded, best)) return;
      best = folded;
      best_piece = position;
    });
    groups_.for_pieces(group, Groups::kChunk, [&](const void* x, int64_t count, int64_t position) {
      if (position == best_piece) place = position + first_equal(x, count, best);
    });
    return place;
  }

  bool better(const Folded& a, const Folded& b) const {
    if (!is_floating(dtype_)) return greatest_ ? a.integer > b.integer : a.integer < b.integer;
    if (std::isnan(b.real)) return false;
    return std::isnan(a.real) || (greatest_ ? a.real > b.real : a.real < b.real);
  }

  int64_t first_equal(const void* x, int64_t count, const Folded& wanted) const {
    return dispatch(dtype_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      const T* values = static_cast<const T*>(x);
      const auto equal = [&](T value) {
        if constexpr (is_floating_v<T>) {
          const float v = to_float(value);
          return v == wanted.real || (std::isnan(v) && std::isnan(wanted.real));
        } else {
          return static_cast<int64_t>(value) == wanted.integer;
        }
      };
      return static_cast<int64_t>(std::find_if(values, values + count, equal) - values);
    });
  }

  Groups groups_;
  FoldFunctions fold_;
  DType dtype_;
  bool greatest_;
  std::optional<size_t> values_;  // the outputs
  size_t places_;
  int64_t value_size_ = 0;
  Convert put_ = nullptr;
};

template <bool greatest>
std::unique_ptr<Kernel> make_extremum(const device::Request& request) {
  const device::TensorDesc& x = *request.inputs[0];
  const DType dtype = is_floating(x.dtype) ? x.dtype : DType::int64;
  const auto groups = Groups::make(x, ops::reduced_dims(*request.node), dtype);
  if (!groups) return nullptr;
  const bool both = request.outputs.size() == 2;
  const auto values = both ? std::optional<size_t>(0) : std::nullopt;
  return std::make_unique<ExtremumKernel>(request, *groups, greatest, dtype, values, both ? 1 : 0);
}

}  // namespace

void add_reduce(KernelTable& table) {
  const auto add = [&table](std::initializer_list<std::string_view> names, Factory make) {
    for (const std::string_view name : names) table.add(name, device::Tier::fast, make);
  };
  add({"aten.sum", "aten.sum.dim_IntList"}, make_total<Fold::sum, Fold::any>);
  add({"aten.prod", "aten.prod.dim_int"}, make_total<Fold::product, Fold::all>);
  add({"aten.max", "aten.amax"}, make_fold<Fold::max>);
  add({"aten.min", "aten.amin"}, make_fold<Fold::min>);
  add({"aten.mean", "aten.mean.dim"}, make_mean);
  add({"aten.any", "aten.any.dim", "aten.any.dims"}, make_bools<Fold::any>);
  add({"aten.all", "aten.all.dim", "aten.all.dims"}, make_bools<Fold::all>);
  add({"aten.linalg_vector_norm"}, make_norm);
  add({"aten.var.correction", "aten.var.dim", "aten.var_mean.correction"}, make_variance<false>);
  add({"aten.std.correction"}, make_variance<true>);
  add({"aten.argmax", "aten.max.dim"}, make_extremum<true>);
  add({"aten.argmin", "aten.min.dim"}, make_extremum<false>);
}

}  // namespace ostinato::cpu
