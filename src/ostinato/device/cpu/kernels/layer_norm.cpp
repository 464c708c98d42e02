#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ostinato/device/cpu/kernels/layer_norm.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ostinato/device/cpu/kernels/convert.h"
#include "ostinato/device/cpu/kernels/kernels.h"
#include "ostinato/device/cpu/kernels/loops.h"
#include "ostinato/device/cpu/kernels/norm_row.h"
#include "ostinato/device/cpu/kernels/reduce-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ostinato::cpu::HWY_NAMESPACE {

/// `f(i, lanes)` for every vector of a row; `lanes` is 0 for a whole one.
template <class F>
HWY_INLINE void for_row(int64_t count, const F& f) {
  const int64_t step = static_cast<int64_t>(lanes());
  int64_t i = 0;
  for (; i + step <= count; i += step) f(i, size_t{0});
  if (i < count) f(i, static_cast<size_t>(count - i));
}

template <typename T>
HWY_INLINE VecF load_some(const T* from, size_t count) {
  return count == 0 ? load(from) : load_n(from, count);
}

template <typename T>
HWY_INLINE void store_some(VecF value, T* to, size_t count) {
  if (count == 0) return store(value, to);
  store_n(value, to, count);
}

// x + residual, rounded to T; the norm is of the rounded sum.
template <typename T>
HWY_INLINE void add_rows(const T* x, const T* residual, T* sum, int64_t count) {
  for_row(count, [&](int64_t i, size_t n) HWY_ATTR {
    store_some(hn::Add(load_some(x + i, n), load_some(residual + i, n)), sum + i, n);
  });
}

// The weight and bias are of type W. RMS norms round before the weight is applied, as Qwen3's do.
template <typename T, typename W, Norm norm, bool weighted, bool biased>
HWY_INLINE void scale_row(NormRow& row, const T* x) {
  T* y = static_cast<T*>(row.y);
  const W* weight = static_cast<const W*>(row.weight);
  const W* bias = static_cast<const W*>(row.bias);
  const VecF mean = set(row.mean), scale = set(row.scale);
  for_row(row.count, [&](int64_t i, size_t n) HWY_ATTR {
    VecF v = load_some(x + i, n);
    if constexpr (norm == Norm::rms) {
      v = hn::Mul(v, scale);
      if constexpr (weighted) v = hn::Mul(round_to<T>(v), load_some(weight + i, n));
    } else {
      v = hn::Mul(hn::Sub(v, mean), scale);
      const VecF b = biased ? load_some(bias + i, n) : zero();
      if constexpr (weighted) {
        v = hn::MulAdd(v, load_some(weight + i, n), b);
      } else if constexpr (biased) {
        v = hn::Add(v, b);
      }
    }
    store_some(v, y + i, n);
  });
}

template <typename T, typename W, Norm norm>
void norm_row(NormRow& row) {
  const T* x = static_cast<const T*>(row.x);
  if (row.residual != nullptr) {
    T* sum = static_cast<T*>(row.sum);
    add_rows(x, static_cast<const T*>(row.residual), sum, row.count);
    x = sum;
  }
  const float count = static_cast<float>(row.count);
  if constexpr (norm == Norm::rms) {
    row.mean = 0;
    const float squares = sum_of_lanes(fold_row(SumOfSquares(), x, row.count)) / count;
    row.scale = 1.0f / std::sqrt(squares + row.eps);
  } else {
    row.mean = sum_of_lanes(fold_row(Sum(), x, row.count)) / count;
    const SumOfDeviations deviations(set(row.mean));
    const float variance = sum_of_lanes(fold_row(deviations, x, row.count)) / count;
    row.scale = 1.0f / std::sqrt(variance + row.eps);
  }
  if (row.weight != nullptr) {
    if (norm == Norm::layer && row.bias != nullptr)
      return scale_row<T, W, norm, true, true>(row, x);
    return scale_row<T, W, norm, true, false>(row, x);
  }
  if (norm == Norm::layer && row.bias != nullptr) return scale_row<T, W, norm, false, true>(row, x);
  scale_row<T, W, norm, false, false>(row, x);
}

template <Norm norm>
NormFunction pick(DType x, DType weight) {
  const bool plain = weight == DType::float32;
  if (!plain && weight != x) return nullptr;
  switch (x) {
    case DType::float32: return norm_row<float, float, norm>;
    case DType::bfloat16:
      return plain ? norm_row<bfloat16, float, norm> : norm_row<bfloat16, bfloat16, norm>;
    case DType::float16:
      return plain ? norm_row<float16, float, norm> : norm_row<float16, float16, norm>;
    default: return nullptr;
  }
}

NormFunction norm_row_of(Norm norm, DType x, DType weight) {
  return norm == Norm::rms ? pick<Norm::rms>(x, weight) : pick<Norm::layer>(x, weight);
}

}  // namespace ostinato::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ostinato::cpu {

HWY_EXPORT(norm_row_of);

NormFunction norm_function(Norm norm, DType x, DType weight) {
  return HWY_DYNAMIC_DISPATCH(norm_row_of)(norm, x, weight);
}

namespace {

/// What differs between the operators.
struct NormSpec {
  Norm norm = Norm::layer;
  size_t inner_dims = 1;  ///< trailing dims that make a row
  std::optional<size_t> residual = {}, weight = {}, bias = {};
  bool statistics = false;  ///< outputs 1 and 2 are each row's mean and scale
};

class NormKernel final : public Kernel {
 public:
  NormKernel(const device::Request& request, const NormSpec& spec, const Loops& loops, Loops inner,
             NormFunction function)
      : spec_(spec), loops_(loops), function_(function) {
    const device::TensorDesc& x = *request.inputs[0];
    element_size_ = size_of(x.dtype);
    count_ = inner.count();
    stride_ = inner.inner_strides();
    eps_ = static_cast<float>(request.node->real("eps"));
    for (size_t k = 0; k < 2; ++k) {
      staged_[k] = count_ > 1 && stride_[k] != static_cast<int64_t>(element_size_);
    }
    if (spec.statistics) {
      const DType dtype = request.outputs[1].dtype;
      statistic_size_ = static_cast<int64_t>(size_of(dtype));
      statistic_ = find_convert(DType::float32, dtype);
    }
    constexpr double kMicrosecondsPerElement = 0.3e-3;
    workers_ =
        workers_for(static_cast<double>(x.numel()) * kMicrosecondsPerElement, request.threads);
  }

  size_t scratch_bytes() const override {
    return staged_[0] || staged_[1] ? static_cast<size_t>(workers_) * 2 * buffer() : 0;
  }

  void run(const Args& args, Worker worker) const override {
    const Range rows = part_of(loops_.count(), worker);
    const int64_t bytes = count_ * static_cast<int64_t>(element_size_);
    NormRow row{};
    row.count = count_;
    row.eps = eps_;
    if (spec_.weight) row.weight = args.inputs[*spec_.weight];
    if (spec_.bias) row.bias = args.inputs[*spec_.bias];
    const bool summed = spec_.residual.has_value();
    char* scratch = at(args.scratch, worker.index * static_cast<int64_t>(2 * buffer()));
    ElementCursor cursor(loops_, rows.begin);
    for (int64_t i = rows.begin; i < rows.end; ++i, cursor.next()) {
      row.x = operand(args.inputs[0], cursor.offset(0), 0, scratch);
      if (summed) {
        row.residual = operand(args.inputs[*spec_.residual], cursor.offset(1), 1, scratch);
        row.sum = at(args.outputs[1], i * bytes);
      }
      row.y = at(args.outputs[0], i * bytes);
      function_(row);
      if (spec_.statistics) {
        statistic_(&row.mean, at(args.outputs[1], i * statistic_size_), 1);
        statistic_(&row.scale, at(args.outputs[2], i * statistic_size_), 1);
      }
    }
  }

 private:
  size_t buffer() const { return (static_cast<size_t>(count_) * element_size_ + 63) / 64 * 64; }

  const void* operand(const void* base, int64_t offset, size_t k, char* scratch) const {
    const char* from = at(base, offset);
    if (!staged_[k]) return from;
    char* stage = scratch + k * buffer();
    gather(from, stride_[k], element_size_, stage, count_);
    return stage;
  }

  NormSpec spec_;
  Loops loops_;  // every row's first element, of x and of the residual
  NormFunction function_;
  size_t element_size_;
  int64_t count_;
  Loops::Offsets stride_;
  float eps_;
  std::array<bool, 2> staged_{};
  int64_t statistic_size_ = 0;
  Convert statistic_ = nullptr;
};

// The index of an operand that is there and dense; `ok` becomes false when it is not dense.
std::optional<size_t> dense_operand(const device::Request& request, std::string_view name,
                                    bool& ok) {
  const auto& specs = request.node->op->operands;
  for (size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].name != name || !request.inputs[i]) continue;
    ok &= request.inputs[i]->layout.is_contiguous();
    return i;
  }
  return std::nullopt;
}

std::unique_ptr<Kernel> make(const device::Request& request, NormSpec spec) {
  const device::TensorDesc& x = *request.inputs[0];
  const device::TensorDesc& other = spec.residual ? *request.inputs[*spec.residual] : x;
  bool dense = true;
  spec.weight = dense_operand(request, "weight", dense);
  spec.bias = dense_operand(request, "bias", dense);
  const DType weight = spec.weight ? request.inputs[*spec.weight]->dtype
                       : spec.bias ? request.inputs[*spec.bias]->dtype
                                   : x.dtype;
  const bool agree = !spec.bias || request.inputs[*spec.bias]->dtype == weight;
  const NormFunction function = norm_function(spec.norm, x.dtype, weight);
  if (function == nullptr || !dense || !agree || other.dtype != x.dtype ||
      request.outputs[0].dtype != x.dtype) {
    return nullptr;
  }
  const Strides strides[] = {byte_strides(x), broadcast_strides(other, x.sizes())};
  const size_t outer_dims = x.sizes().size() - spec.inner_dims;
  const auto part = [&](size_t first, size_t count) {
    Strides parts[2];
    for (size_t k = 0; k < 2; ++k) {
      const auto begin = strides[k].begin() + static_cast<std::ptrdiff_t>(first);
      parts[k].assign(begin, begin + static_cast<std::ptrdiff_t>(count));
    }
    return make_loops(std::span(x.sizes()).subspan(first, count), parts);
  };
  const std::optional<Loops> outer = part(0, outer_dims), inner = part(outer_dims, spec.inner_dims);
  if (!outer || !inner || inner->rank > 1) return nullptr;
  return std::make_unique<NormKernel>(request, spec, *outer, *inner, function);
}

std::unique_ptr<Kernel> make_layer_norm(const device::Request& request) {
  return make(request, {.norm = Norm::layer});
}

std::unique_ptr<Kernel> make_native_layer_norm(const device::Request& request) {
  const size_t dims = request.node->dims("normalized_shape").size();
  return make(request, {.norm = Norm::layer, .inner_dims = dims, .statistics = true});
}

std::unique_ptr<Kernel> make_rms_norm(const device::Request& request) {
  return make(request, {.norm = Norm::rms});
}

std::unique_ptr<Kernel> make_add_rms_norm(const device::Request& request) {
  return make(request, {.norm = Norm::rms, .residual = 1});
}

std::unique_ptr<Kernel> make_add_layer_norm(const device::Request& request) {
  return make(request, {.norm = Norm::layer, .residual = 1});
}

}  // namespace

void add_layer_norm(KernelTable& table) {
  table.add("layer_norm", device::Tier::fast, make_layer_norm);
  table.add("aten.native_layer_norm", device::Tier::fast, make_native_layer_norm);
  table.add("rms_norm", device::Tier::fast, make_rms_norm);
  table.add("add_rms_norm", device::Tier::fast, make_add_rms_norm);
  table.add("add_layer_norm", device::Tier::fast, make_add_layer_norm);
}

}  // namespace ostinato::cpu
#endif  // HWY_ONCE
