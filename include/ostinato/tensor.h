#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "ostinato/error.h"

namespace ostinato {

/// The element types of the engine. `boolean` is one byte, 0 or 1.
enum class DType : uint8_t { float32, bfloat16, float16, int64, int32, uint8, boolean };

/// The name in graph text, reports and `--dtype`: `float32`, `bool`, ….
OSTINATO_API std::string_view name_of(DType dtype);

/// The dtype of that name; throws `invalid_argument` listing the valid ones.
OSTINATO_API DType dtype_of(std::string_view name);

/// Bytes of one element.
OSTINATO_API size_t size_of(DType dtype);

/// float32, bfloat16 or float16.
OSTINATO_API bool is_floating(DType dtype);

/// A dense, row-major array in host memory: the last size varies fastest, and there are no gaps. A
/// shape of no sizes is a scalar, of one element; a size of zero makes an array without elements.
///
/// A tensor is a handle. Copies share the storage, which lives as long as the last of them, and
/// sharing it between threads needs the care that any shared memory needs. A tensor that was
/// default-constructed or moved from is undefined: it has no elements and no storage.
class OSTINATO_API Tensor {
 public:
  Tensor() = default;
  Tensor(const Tensor&) = default;
  Tensor& operator=(const Tensor&) = default;
  Tensor(Tensor&& other) noexcept { swap(other); }
  Tensor& operator=(Tensor&& other) noexcept {
    Tensor(std::move(other)).swap(*this);
    return *this;
  }

  /// Memory of its own, 64-byte aligned, uninitialised. Throws `invalid_argument` for a negative
  /// size and `out_of_memory`.
  static Tensor empty(DType dtype, std::vector<int64_t> shape);

  /// Memory of its own with these elements, the last size fastest. T is one of float, int64_t,
  /// int32_t, uint8_t and bool, and gives the dtype. Throws `invalid_argument` unless there are as
  /// many elements as the shape has.
  template <typename T>
  static Tensor of(const std::vector<int64_t>& shape, std::span<const T> elements);
  template <typename T>
  static Tensor of(const std::vector<int64_t>& shape, std::initializer_list<T> elements);

  /// Somebody else's memory, which `owner` keeps alive (a mapped file, a torch tensor); with a null
  /// owner the caller does. Throws `invalid_argument` for a negative size, for no memory where the
  /// shape has elements, and for memory that is not aligned to an element.
  static Tensor borrow(void* data, DType dtype, std::vector<int64_t> shape,
                       std::shared_ptr<const void> owner);

  bool defined() const { return data_ != nullptr; }
  DType dtype() const { return dtype_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  int64_t numel() const;  ///< elements; 1 for a scalar, 0 where undefined
  size_t bytes() const { return static_cast<size_t>(numel()) * size_of(dtype_); }

  void* data() { return data_; }
  const void* data() const { return data_; }

  /// The elements as T, unchecked: T must have the dtype's size.
  template <typename T>
  T* as() {
    return static_cast<T*>(data_);
  }
  template <typename T>
  const T* as() const {
    return static_cast<const T*>(data_);
  }

  /// The elements; throws `invalid_argument` unless T is the dtype's own: float, int64_t, int32_t,
  /// uint8_t or bool. For bfloat16 and float16, which C++20 has no types for, convert first:
  /// `tensor.to(DType::float32)`.
  template <typename T>
  std::span<T> values() {
    require(element_type<T>());
    return {as<T>(), static_cast<size_t>(numel())};
  }
  template <typename T>
  std::span<const T> values() const {
    require(element_type<T>());
    return {as<T>(), static_cast<size_t>(numel())};
  }

  /// A copy in another dtype, rounded to nearest even; the tensor itself when the dtype is its own.
  /// Floating to floating and integer to integer only: anything else throws `invalid_argument`.
  Tensor to(DType dtype) const;

 private:
  template <typename T>
  static constexpr DType element_type();
  void require(DType dtype) const;
  static Tensor copy(DType dtype, std::vector<int64_t> shape, const void* elements, size_t count);
  void swap(Tensor& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(dtype_, other.dtype_);
    shape_.swap(other.shape_);
    owner_.swap(other.owner_);
  }

  void* data_ = nullptr;
  DType dtype_ = DType::float32;
  std::vector<int64_t> shape_;
  std::shared_ptr<const void> owner_;
};

template <typename T>
constexpr DType Tensor::element_type() {
  if constexpr (std::is_same_v<T, float>) {
    return DType::float32;
  } else if constexpr (std::is_same_v<T, int64_t>) {
    return DType::int64;
  } else if constexpr (std::is_same_v<T, int32_t>) {
    return DType::int32;
  } else if constexpr (std::is_same_v<T, uint8_t>) {
    return DType::uint8;
  } else {
    static_assert(std::is_same_v<T, bool>, "T must be float, int64_t, int32_t, uint8_t or bool");
    return DType::boolean;
  }
}

template <typename T>
Tensor Tensor::of(const std::vector<int64_t>& shape, std::span<const T> elements) {
  return copy(element_type<T>(), shape, elements.data(), elements.size());
}

template <typename T>
Tensor Tensor::of(const std::vector<int64_t>& shape, std::initializer_list<T> elements) {
  return copy(element_type<T>(), shape, elements.begin(), elements.size());
}

}  // namespace ostinato
