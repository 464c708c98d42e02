#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ostinato/device/cpu/kernels/normalization.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ostinato/device/cpu/kernels/fold.h"
#include "ostinato/device/cpu/kernels/kernels.h"
#include "ostinato/device/cpu/kernels/vector-inl.h"

#ifndef OSTINATO_DEVICE_CPU_KERNELS_NORMALIZATION_ONCE_
#define OSTINATO_DEVICE_CPU_KERNELS_NORMALIZATION_ONCE_
namespace ostinato::cpu {

/// What a channel's elements go through: (x − mean) · scale + shift.
struct Affine {
  float mean, scale, shift;
};

using AffineRow = void (*)(const void* x, void* y, int64_t count, const Affine& affine);

}  // namespace ostinato::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace ostinato::cpu::HWY_NAMESPACE {

template <typename T>
void affine_row(const void* input, void* output, int64_t count, const Affine& affine) {
  const T* x = static_cast<const T*>(input);
  T* y = static_cast<T*>(output);
  const VecF mean = set(affine.mean), scale = set(affine.scale), shift = set(affine.shift);
  const int64_t step = static_cast<int64_t>(lanes());
  int64_t i = 0;
  for (; i + step <= count; i += step) {
    store(hn::MulAdd(hn::Sub(load(x + i), mean), scale, shift), y + i);
  }
  if (i < count) {
    const size_t rest = static_cast<size_t>(count - i);
    store_n(hn::MulAdd(hn::Sub(load_n(x + i, rest), mean), scale, shift), y + i, rest);
  }
}

AffineRow affine_row_of(DType dtype) {
  switch (dtype) {
    case DType::float32: return affine_row<float>;
    case DType::bfloat16: return affine_row<bfloat16>;
    case DType::float16: return affine_row<float16>;
    default: return nullptr;
  }
}

}  // namespace ostinato::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ostinato::cpu {

HWY_EXPORT(affine_row_of);

namespace {

/// A tensor of one number a channel, whatever its dtype and stride, or None.
class PerChannel {
 public:
  PerChannel(const device::Request& request, size_t operand, float fallback)
      : operand_(operand), fallback_(fallback) {
    const auto& desc = request.inputs[operand];
    if (!desc) return;
    convert_ = find_convert(desc->dtype, DType::float32);
    stride_ = byte_strides(*desc)[0];
  }

  float read(const Args& args, int64_t channel) const {
    if (convert_ == nullptr) return fallback_;
    float value;
    convert_(at(static_cast<const void*>(args.inputs[operand_]), channel * stride_), &value, 1);
    return value;
  }

 private:
  size_t operand_;
  float fallback_;
  Convert convert_ = nullptr;
  int64_t stride_ = 0;
};

int workers_for_elements(const device::Request& request) {
  return workers_for_bytes(2 * request.outputs[0].bytes(), request.threads);
}

/// Batch norm by running statistics: every channel by its own mean and variance.
class BatchNormKernel final : public Kernel {
 public:
  BatchNormKernel(const device::Request& request, int64_t plane, AffineRow row)
      : strides_(byte_strides(*request.inputs[0])),
        samples_(request.inputs[0]->sizes()[0]),
        channels_(request.inputs[0]->sizes()[1]),
        plane_(plane),
        plane_bytes_(plane * static_cast<int64_t>(size_of(request.outputs[0].dtype))),
        eps_(static_cast<float>(request.node->real("eps"))),
        weight_(request, 1, 1),
        bias_(request, 2, 0),
        mean_(request, 3, 0),
        variance_(request, 4, 1),
        row_(row) {
    workers_ = workers_for_elements(request);
  }

  void run(const Args& args, Worker worker) const override {
    const Range range = part_of(samples_ * channels_, worker);
    for (int64_t i = range.begin; i < range.end; ++i) {
      const int64_t c = i % channels_;
      const float scale = 1.0f / std::sqrt(variance_.read(args, c) + eps_);
      const Affine affine = {mean_.read(args, c), scale * weight_.read(args, c),
                             bias_.read(args, c)};
      const void* x = args.inputs[0];
      row_(at(x, i / channels_ * strides_[0] + c * strides_[1]),
           at(args.outputs[0], i * plane_bytes_), plane_, affine);
    }
  }

 private:
  Strides strides_;
  int64_t samples_, channels_, plane_, plane_bytes_;
  float eps_;
  PerChannel weight_, bias_, mean_, variance_;
  AffineRow row_;
};

std::unique_ptr<Kernel> make_batch_norm(const device::Request& request) {
  const device::TensorDesc &x = *request.inputs[0], &y = request.outputs[0];
  const AffineRow row = HWY_DYNAMIC_DISPATCH(affine_row_of)(x.dtype);
  // A channel's elements must be adjacent.
  const std::span sizes = std::span(x.sizes()).subspan(2);
  const Strides all = byte_strides(x), planes(all.begin() + 2, all.end());
  const auto plane = make_loops(sizes, std::span(&planes, 1));
  if (row == nullptr || y.dtype != x.dtype || !plane || plane->rank > 1) return nullptr;
  if (plane->inner() > 1 && plane->inner_strides()[0] != static_cast<int64_t>(size_of(x.dtype))) {
    return nullptr;
  }
  return std::make_unique<BatchNormKernel>(request, plane->inner(), row);
}

/// Group norm of (N, C, *) with adjacent elements: every group of channels by its own moments.
class GroupNormKernel final : public Kernel {
 public:
  GroupNormKernel(const device::Request& request, AffineRow row)
      : groups_(request.node->integer("group")),
        channels_(request.node->integer("C") / groups_),
        plane_(request.node->integer("HxW")),
        eps_(static_cast<float>(request.node->real("eps"))),
        element_size_(static_cast<int64_t>(size_of(request.inputs[0]->dtype))),
        statistic_size_(static_cast<int64_t>(size_of(request.outputs[1].dtype))),
        count_(request.node->integer("N") * groups_),
        weight_(request, 1, 1),
        bias_(request, 2, 0),
        sum_(fold_functions(Fold::sum, request.inputs[0]->dtype)),
        deviations_(fold_functions(Fold::deviations, request.inputs[0]->dtype)),
        put_(find_convert(DType::float32, request.outputs[1].dtype)),
        row_(row) {
    workers_ = workers_for_elements(request);
  }

  void run(const Args& args, Worker worker) const override {
    const Range range = part_of(count_, worker);
    const int64_t length = channels_ * plane_, plane_bytes = plane_ * element_size_;
    for (int64_t i = range.begin; i < range.end; ++i) {
      const void* x = at(args.inputs[0], i * length * element_size_);
      void* y = at(args.outputs[0], i * length * element_size_);
      const float mean = fold(sum_, x, length, 0) / static_cast<float>(length);
      const float variance = fold(deviations_, x, length, mean) / static_cast<float>(length);
      const float rstd = 1.0f / std::sqrt(variance + eps_);
      put_(&mean, at(args.outputs[1], i * statistic_size_), 1);
      put_(&rstd, at(args.outputs[2], i * statistic_size_), 1);
      for (int64_t k = 0; k < channels_; ++k) {
        const int64_t c = i % groups_ * channels_ + k;
        const Affine affine = {mean, rstd * weight_.read(args, c), bias_.read(args, c)};
        row_(at(x, k * plane_bytes), at(y, k * plane_bytes), plane_, affine);
      }
    }
  }

 private:
  static float fold(const FoldFunctions& functions, const void* x, int64_t count, float parameter) {
    Folded folded = functions.start;
    functions.row(x, count, parameter, folded);
    return folded.real;
  }

  int64_t groups_, channels_, plane_;  // channels of a group
  float eps_;
  int64_t element_size_, statistic_size_, count_;
  PerChannel weight_, bias_;
  FoldFunctions sum_, deviations_;
  Convert put_;
  AffineRow row_;
};

std::unique_ptr<Kernel> make_group_norm(const device::Request& request) {
  const device::TensorDesc& x = *request.inputs[0];
  const AffineRow row = HWY_DYNAMIC_DISPATCH(affine_row_of)(x.dtype);
  if (row == nullptr || request.outputs[0].dtype != x.dtype || !x.layout.is_contiguous()) {
    return nullptr;
  }
  return std::make_unique<GroupNormKernel>(request, row);
}

}  // namespace

void add_normalization(KernelTable& table) {
  table.add("aten._native_batch_norm_legit_no_training", device::Tier::fast, make_batch_norm);
  table.add("aten.native_group_norm", device::Tier::fast, make_group_norm);
}

}  // namespace ostinato::cpu
#endif  // HWY_ONCE
