#pragma once

#include <algorithm>

#include "ostinato/base/dtype.h"
#include "ostinato/device/cpu/kernel.h"

/// The oracle's kernels: plain loops in fp32 that anybody can check against the operator's
/// definition. Any dtype, any strides, nothing reordered, nothing fast.
namespace ostinato::cpu::reference {

/// A strided tensor whose elements read and write as floats or integers, whatever their dtype.
class View {
 public:
  View() = default;
  View(void* data, const device::TensorDesc& desc) : data_(data), desc_(&desc) {}

  explicit operator bool() const { return desc_ != nullptr; }
  DType dtype() const { return desc_->dtype; }
  const std::vector<int64_t>& sizes() const { return desc_->sizes(); }
  const std::vector<int64_t>& strides() const { return desc_->strides(); }
  int64_t size(size_t dim) const { return sizes()[dim]; }
  size_t rank() const { return sizes().size(); }
  int64_t numel() const { return desc_->numel(); }
  void* data() const { return data_; }

  /// The offset, in elements, of the element at these indices.
  int64_t offset(std::span<const int64_t> index) const;
  /// The same for the element that is `position`-th in row-major order.
  int64_t offset_of(int64_t position) const;

  float get(int64_t offset) const;              ///< of any dtype
  int64_t get_integer(int64_t offset) const;    ///< of an integer or boolean dtype
  void set(int64_t offset, float value) const;  ///< rounds to the dtype; integers truncate
  void set_integer(int64_t offset, int64_t value) const;

  /// `count` elements from an offset on, a stride apart: as get and set, but for many at once.
  void get_run(int64_t offset, int64_t stride, int64_t count, float* values) const;
  void set_run(int64_t offset, int64_t stride, int64_t count, const float* values) const;
  void get_run(int64_t offset, int64_t stride, int64_t count, int64_t* values) const;
  void set_run(int64_t offset, int64_t stride, int64_t count, const int64_t* values) const;

  /// All elements in row-major order.
  std::vector<float> to_floats() const;
  std::vector<int64_t> to_integers() const;
  void from_floats(std::span<const float> values) const;
  void from_integers(std::span<const int64_t> values) const;

 private:
  void* data_ = nullptr;
  const device::TensorDesc* desc_ = nullptr;
};

/// One run of a reference kernel.
struct Call {
  const ir::Node& node;
  std::span<const View> inputs;  ///< one an operand; false for None
  std::span<const View> outputs;
  Worker worker;
  Fault* fault;

  /// The operand of that name in the operator's row.
  const View& input(std::string_view name) const;
};

using Function = void (*)(const Call& call);

/// Wraps a function as a kernel. A parallel one is called by every worker and does its own part.
template <Function function, bool parallel = false>
std::unique_ptr<Kernel> make(const device::Request& request);

/// Steps through all indices of a shape in row-major order: `f(index, position)`.
template <typename F>
void for_each_index(const std::vector<int64_t>& sizes, F&& f) {
  // Of an empty shape the other sizes may be any: their product may not fit.
  if (std::find(sizes.begin(), sizes.end(), 0) != sizes.end()) return;
  int64_t total = 1;
  for (int64_t size : sizes) total *= size;
  std::vector<int64_t> index(sizes.size(), 0);
  for (int64_t position = 0; position < total; ++position) {
    f(std::span<const int64_t>(index), position);
    for (size_t d = sizes.size(); d-- > 0;) {
      if (++index[d] < sizes[d]) break;
      index[d] = 0;
    }
  }
}

std::unique_ptr<Kernel> wrap(const device::Request& request, Function function, bool parallel);

template <Function function, bool parallel>
std::unique_ptr<Kernel> make(const device::Request& request) {
  return wrap(request, function, parallel);
}

// One function a file of this room, each adding that file's kernels.
void add_binary(KernelTable& table);
void add_cache_update(KernelTable& table);
void add_cast(KernelTable& table);
void add_compare(KernelTable& table);
void add_concat(KernelTable& table);
void add_convolution(KernelTable& table);
void add_create(KernelTable& table);
void add_index(KernelTable& table);
void add_linear(KernelTable& table);
void add_matmul(KernelTable& table);
void add_normalization(KernelTable& table);
void add_pool(KernelTable& table);
void add_reduce(KernelTable& table);
void add_scan(KernelTable& table);
void add_softmax(KernelTable& table);
void add_sort(KernelTable& table);
void add_unary(KernelTable& table);
void add_upsample(KernelTable& table);
void add_view(KernelTable& table);

}  // namespace ostinato::cpu::reference
