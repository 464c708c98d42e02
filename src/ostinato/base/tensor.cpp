#include "ostinato/tensor.h"

#include <array>
#include <cstdint>
#include <cstdlib>
#include <utility>

#include "ostinato/base/dtype.h"
#include "ostinato/base/error.h"
#include "ostinato/base/memory.h"

namespace ostinato {

namespace {

constexpr std::array<std::pair<DType, std::string_view>, 7> kNames = {{
    {DType::float32, "float32"},
    {DType::bfloat16, "bfloat16"},
    {DType::float16, "float16"},
    {DType::int64, "int64"},
    {DType::int32, "int32"},
    {DType::uint8, "uint8"},
    {DType::boolean, "bool"},
}};

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
  int64_t count = 1;
  for (int64_t size : shape_) count *= size;
  return count;
}

Tensor Tensor::empty(DType dtype, std::vector<int64_t> shape) {
  size_t bytes = size_of(dtype);
  for (int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(bytes, static_cast<size_t>(size), &bytes) ||
        bytes > size_t{INT64_MAX}) {
      fail(ErrorCode::invalid_argument, "tensor", "Check the shape.",
           "expected sizes whose product fits in memory, got {}", fmt::join(shape, "×"));
    }
  }
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
  Tensor tensor;
  tensor.data_ = data;
  tensor.dtype_ = dtype;
  tensor.shape_ = std::move(shape);
  tensor.owner_ = std::move(owner);
  return tensor;
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return *this;
  if (is_floating(dtype) != is_floating(dtype_)) {
    fail(ErrorCode::invalid_argument, "tensor",
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
