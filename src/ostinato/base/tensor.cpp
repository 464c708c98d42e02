#include "ostinato/tensor.h"

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "ostinato/base/dtype.h"
#include "ostinato/base/error.h"
#include "ostinato/base/memory.h"

namespace ostinato {

namespace {

constexpr std::string_view kStage = "tensor";

constexpr std::array<std::pair<DType, std::string_view>, 7> kNames = {{
    {DType::float32, "float32"},
    {DType::bfloat16, "bfloat16"},
    {DType::float16, "float16"},
    {DType::int64, "int64"},
    {DType::int32, "int32"},
    {DType::uint8, "uint8"},
    {DType::boolean, "bool"},
}};

/// Bytes of a dense array of that shape.
size_t checked_bytes(DType dtype, const std::vector<int64_t>& shape) {
  size_t bytes = size_of(dtype);
  bool fits = true;
  bool empty = false;
  for (int64_t size : shape) {
    empty = empty || size == 0;
    fits = fits && size >= 0 &&
           (size == 0 || (!__builtin_mul_overflow(bytes, static_cast<size_t>(size), &bytes) &&
                          bytes <= size_t{INT64_MAX}));
  }
  if (!fits) {
    fail(ErrorCode::invalid_argument, kStage, "Check the shape.",
         "expected sizes whose product fits in memory, got {}", fmt::join(shape, "×"));
  }
  return empty ? 0 : bytes;
}

template <typename To, typename From>
To convert(From value) {
  if constexpr (is_floating_v<To>) {
    return from_float<To>(to_float(value));
  } else {
    return static_cast<To>(value);
  }
}

}  // namespace

std::string_view name_of(DType dtype) { return kNames[static_cast<size_t>(dtype)].second; }

DType dtype_of(std::string_view name) {
  for (const auto& [dtype, text] : kNames) {
    if (text == name) return dtype;
  }
  std::string valid;
  for (const auto& entry : kNames) {
    valid += (valid.empty() ? "" : ", ") + std::string(entry.second);
  }
  fail(ErrorCode::invalid_argument, "dtype", fmt::format("Use one of {}.", valid),
       "expected a dtype, got '{}'", name);
}

size_t size_of(DType dtype) {
  return dispatch(dtype, [](auto tag) { return sizeof(typename decltype(tag)::type); });
}

bool is_floating(DType dtype) {
  return dispatch(dtype, [](auto tag) { return is_floating_v<typename decltype(tag)::type>; });
}

int64_t Tensor::numel() const {
  int64_t count = defined() ? 1 : 0;
  for (int64_t size : shape_) count *= size;
  return count;
}

Tensor Tensor::empty(DType dtype, std::vector<int64_t> shape) {
  const size_t bytes = checked_bytes(dtype, shape);
  constexpr size_t kAlignment = 64;
  constexpr size_t kLarge = size_t{1} << 28;
  constexpr std::string_view kRemedy =
      "Use a smaller batch, a shorter sequence or a narrower dtype.";
  const auto what = [&] { return fmt::format("{} {}", name_of(dtype), fmt::join(shape, "×")); };
  if (bytes >= kLarge) require_memory(bytes, what(), kRemedy);
  const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  void* data = std::aligned_alloc(kAlignment, rounded + kAlignment);
  if (data == nullptr) {
    fail(ErrorCode::out_of_memory, "memory", kRemedy, "could not allocate {} for {}",
         human_bytes(bytes), what());
  }
  return borrow(data, dtype, std::move(shape), std::shared_ptr<const void>(data, std::free));
}

Tensor Tensor::borrow(void* data, DType dtype, std::vector<int64_t> shape,
                      std::shared_ptr<const void> owner) {
  static char nothing;  // where the elements of a tensor lie that has none
  const size_t bytes = checked_bytes(dtype, shape);
  if (data == nullptr && bytes > 0) {
    fail(ErrorCode::invalid_argument, kStage, "Give the address of the first element.",
         "expected memory for {} bytes, got a null pointer", bytes);
  }
  if (bytes > 0 && reinterpret_cast<uintptr_t>(data) % size_of(dtype) != 0) {
    fail(ErrorCode::invalid_argument, kStage, "Copy the elements to memory of their own.",
         "expected memory aligned to the {} bytes of {}, got {}", size_of(dtype), name_of(dtype),
         data);
  }
  Tensor tensor;
  tensor.data_ = data == nullptr ? &nothing : data;
  tensor.dtype_ = dtype;
  tensor.shape_ = std::move(shape);
  tensor.owner_ = std::move(owner);
  return tensor;
}

Tensor Tensor::copy(DType dtype, std::vector<int64_t> shape, const void* elements, size_t count) {
  Tensor tensor = empty(dtype, std::move(shape));
  if (static_cast<size_t>(tensor.numel()) != count) {
    fail(ErrorCode::invalid_argument, kStage, "Give as many elements as the shape has.",
         "expected {} elements for shape ({}), got {}", tensor.numel(),
         fmt::join(tensor.shape(), ", "), count);
  }
  if (count > 0) std::memcpy(tensor.data(), elements, tensor.bytes());
  return tensor;
}

void Tensor::require(DType dtype) const {
  if (!defined()) {
    fail(ErrorCode::invalid_argument, kStage, "Use a tensor that has storage.",
         "expected elements of {}, got an undefined tensor", name_of(dtype));
  }
  if (dtype == dtype_) return;
  fail(ErrorCode::invalid_argument, kStage, "Ask for the elements in the tensor's own type.",
       "expected a tensor of {}, got one of {}", name_of(dtype), name_of(dtype_));
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_ || !defined()) return *this;
  if (is_floating(dtype) != is_floating(dtype_)) {
    fail(ErrorCode::invalid_argument, kStage,
         "Convert between floating dtypes or between "
         "integer dtypes.",
         "cannot convert {} to {}", name_of(dtype_), name_of(dtype));
  }
  Tensor result = empty(dtype, shape_);
  dispatch(dtype, [&](auto to) {
    dispatch(dtype_, [&](auto from) {
      using To = typename decltype(to)::type;
      using From = typename decltype(from)::type;
      if constexpr (is_floating_v<To> == is_floating_v<From>) {
        const int64_t count = numel();
        const From* source = as<From>();
        To* target = result.as<To>();
        for (int64_t i = 0; i < count; ++i) target[i] = convert<To>(source[i]);
      }
    });
  });
  return result;
}

}  // namespace ostinato
