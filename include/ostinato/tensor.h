#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace ostinato {

/// The element types of the engine. `boolean` is one byte, 0 or 1.
enum class DType : uint8_t { float32, bfloat16, float16, int64, int32, uint8, boolean };

/// The name in graph text, reports and `--dtype`: `float32`, `bool`, ….
std::string_view name_of(DType dtype);

/// The dtype of that name; throws `invalid_argument` listing the valid ones.
DType dtype_of(std::string_view name);

/// Bytes of one element.
size_t size_of(DType dtype);

/// float32, bfloat16 or float16.
bool is_floating(DType dtype);

/// A dense, row-major array in host memory. Copies share the storage.
class Tensor {
 public:
  Tensor() = default;

  /// Memory of its own, 64-byte aligned, uninitialised. Throws `out_of_memory`.
  static Tensor empty(DType dtype, std::vector<int64_t> shape);

  /// Somebody else's memory, which `owner` keeps alive (a mapped file, a torch tensor).
  static Tensor borrow(void* data, DType dtype, std::vector<int64_t> shape,
                       std::shared_ptr<const void> owner);

  bool defined() const { return data_ != nullptr || owner_ != nullptr; }
  DType dtype() const { return dtype_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  int64_t numel() const;
  size_t bytes() const { return static_cast<size_t>(numel()) * size_of(dtype_); }

  void* data() { return data_; }
  const void* data() const { return data_; }

  /// The elements, of which T must have the dtype's size.
  template <typename T>
  T* as() {
    return static_cast<T*>(data_);
  }
  template <typename T>
  const T* as() const {
    return static_cast<const T*>(data_);
  }

  /// A copy in another dtype, rounded to nearest even; the tensor itself when the dtype is its own.
  /// Floating to floating and integer to integer only: anything else throws `invalid_argument`.
  Tensor to(DType dtype) const;

 private:
  void* data_ = nullptr;
  DType dtype_ = DType::float32;
  std::vector<int64_t> shape_;
  std::shared_ptr<const void> owner_;
};

}  // namespace ostinato
