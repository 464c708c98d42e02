#include "ostinato/device/cpu/reference/copy.h"

namespace ostinato::cpu::reference {

namespace {

template <typename T>
void copy_strided(T* to, int64_t to_stride, const T* from, int64_t from_stride, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i * to_stride] = from[i * from_stride];
}

void copy_run(const View& to, int64_t to_offset, int64_t to_stride, const View& from,
              int64_t from_offset, int64_t from_stride, int64_t count) {
  if (to.dtype() == from.dtype()) {
    dispatch(to.dtype(), [&](auto tag) {
      using Element = typename decltype(tag)::type;
      // Memory that a call with an index out of range left as it was may hold no bool.
      using T = std::conditional_t<std::is_same_v<Element, bool>, uint8_t, Element>;
      copy_strided(static_cast<T*>(to.data()) + to_offset, to_stride,
                   static_cast<const T*>(from.data()) + from_offset, from_stride, count);
    });
    return;
  }
  const bool exact = !is_floating(to.dtype()) && !is_floating(from.dtype());
  for (int64_t i = 0; i < count; ++i) {
    const int64_t target = to_offset + i * to_stride, source = from_offset + i * from_stride;
    if (exact) {
      to.set_integer(target, from.get_integer(source));
    } else {
      to.set(target, from.get(source));
    }
  }
}

int64_t dot(std::span<const int64_t> index, const std::vector<int64_t>& strides) {
  int64_t sum = 0;
  for (size_t d = 0; d < index.size(); ++d) sum += index[d] * strides[d];
  return sum;
}

}  // namespace

void copy(const Part& to, const Part& from, const std::vector<int64_t>& sizes) {
  std::vector<int64_t> rows = sizes;
  const int64_t count = rows.empty() ? 1 : rows.back();
  if (!rows.empty()) rows.back() = count > 0 ? 1 : 0;
  const int64_t to_stride = rows.empty() ? 1 : to.strides.back();
  const int64_t from_stride = rows.empty() ? 1 : from.strides.back();
  for_each_index(rows, [&](std::span<const int64_t> index, int64_t) {
    copy_run(to.view, to.offset + dot(index, to.strides), to_stride, from.view,
             from.offset + dot(index, from.strides), from_stride, count);
  });
}

void copy(const View& to, const View& from) { copy(Part(to), Part(from), to.sizes()); }

void fill(const Part& to, const ir::Attribute& value, const std::vector<int64_t>& sizes) {
  const double* real = std::get_if<double>(&value);
  const ir::Dim* dim = std::get_if<ir::Dim>(&value);
  const int64_t integer = dim != nullptr ? dim->value() : real == nullptr && std::get<bool>(value);
  for_each_index(sizes, [&](std::span<const int64_t> index, int64_t) {
    const int64_t offset = to.offset + dot(index, to.strides);
    if (real != nullptr) {
      to.view.set(offset, static_cast<float>(*real));
    } else {
      to.view.set_integer(offset, integer);
    }
  });
}

std::vector<int64_t> broadcast_strides(const View& view, const std::vector<int64_t>& sizes) {
  std::vector<int64_t> strides(sizes.size(), 0);
  const size_t added = sizes.size() - view.rank();
  for (size_t i = 0; i < view.rank(); ++i) {
    if (view.size(i) != 1) strides[added + i] = view.strides()[i];
  }
  return strides;
}

size_t front_dim(int64_t dim, size_t rank) {
  return static_cast<size_t>(dim < 0 ? dim + static_cast<int64_t>(rank) : dim);
}

bool wrap(int64_t& position, int64_t size) {
  if (position < 0) position += size;
  return position >= 0 && position < size;
}

}  // namespace ostinato::cpu::reference
