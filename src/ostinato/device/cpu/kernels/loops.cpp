#include "ostinato/device/cpu/kernels/loops.h"

#include <algorithm>

namespace ostinato::cpu {

int64_t Loops::rows() const {
  int64_t result = 1;
  for (size_t d = 0; d + 1 < rank; ++d) result *= sizes[d];
  return result;
}

int64_t Loops::count() const { return rows() * inner(); }

std::optional<Loops> make_loops(std::span<const int64_t> sizes, std::span<const Strides> strides) {
  Loops loops;
  loops.operands = strides.size();
  size_t rank = 0;
  for (size_t d = 0; d < sizes.size(); ++d) {
    if (sizes[d] == 1) continue;
    bool merges = rank > 0;
    for (size_t k = 0; merges && k < strides.size(); ++k) {
      merges = loops.strides[rank - 1][k] == strides[k][d] * sizes[d];
    }
    if (merges) {
      loops.sizes[rank - 1] *= sizes[d];
    } else {
      if (rank == Loops::kMaxRank) return std::nullopt;
      loops.sizes[rank++] = sizes[d];
    }
    for (size_t k = 0; k < strides.size(); ++k) loops.strides[rank - 1][k] = strides[k][d];
  }
  if (rank > 0) loops.rank = rank;
  return loops;
}

Strides byte_strides(const device::TensorDesc& desc) {
  Strides result = desc.strides();
  for (int64_t& stride : result) stride *= static_cast<int64_t>(size_of(desc.dtype));
  return result;
}

Strides broadcast_strides(const device::TensorDesc& desc, std::span<const int64_t> sizes) {
  Strides result(sizes.size(), 0);
  const size_t skip = sizes.size() - desc.sizes().size();
  for (size_t d = 0; d < desc.sizes().size(); ++d) {
    if (desc.sizes()[d] == 1) continue;
    result[skip + d] = desc.strides()[d] * static_cast<int64_t>(size_of(desc.dtype));
  }
  return result;
}

size_t wrap_dim(int64_t dim, size_t rank) {
  const int64_t limit = rank == 0 ? 1 : static_cast<int64_t>(rank);
  return static_cast<size_t>(dim < 0 ? dim + limit : dim);
}

namespace {

template <typename T>
void gather_as(const void* source, int64_t stride, void* target, int64_t count) {
  const char* from = static_cast<const char*>(source);
  T* to = static_cast<T*>(target);
  for (int64_t i = 0; i < count; ++i) to[i] = *reinterpret_cast<const T*>(from + i * stride);
}

template <typename T>
void spread_as(const void* source, void* target, int64_t stride, int64_t count) {
  const T* from = static_cast<const T*>(source);
  char* to = static_cast<char*>(target);
  for (int64_t i = 0; i < count; ++i) *reinterpret_cast<T*>(to + i * stride) = from[i];
}

}  // namespace

void gather(const void* source, int64_t stride, size_t element_size, void* target, int64_t count) {
  if (stride == static_cast<int64_t>(element_size)) {
    std::copy_n(static_cast<const char*>(source), static_cast<size_t>(count) * element_size,
                static_cast<char*>(target));
    return;
  }
  switch (element_size) {
    case 1: return gather_as<uint8_t>(source, stride, target, count);
    case 2: return gather_as<uint16_t>(source, stride, target, count);
    case 4: return gather_as<uint32_t>(source, stride, target, count);
    default: return gather_as<uint64_t>(source, stride, target, count);
  }
}

void spread(const void* source, void* target, int64_t stride, size_t element_size, int64_t count) {
  if (stride == static_cast<int64_t>(element_size)) {
    std::copy_n(static_cast<const char*>(source), static_cast<size_t>(count) * element_size,
                static_cast<char*>(target));
    return;
  }
  switch (element_size) {
    case 1: return spread_as<uint8_t>(source, target, stride, count);
    case 2: return spread_as<uint16_t>(source, target, stride, count);
    case 4: return spread_as<uint32_t>(source, target, stride, count);
    default: return spread_as<uint64_t>(source, target, stride, count);
  }
}

}  // namespace ostinato::cpu
