#include "ostinato/device/cpu/reference/elementwise.h"

#include <algorithm>

#include "ostinato/base/error.h"

namespace ostinato::cpu::reference {

float rounded(float value, DType dtype) {
  return dispatch(dtype, [value](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (is_floating_v<T>) {
      return to_float(from_float<T>(value));
    } else {
      return value;  // what is computed in integers never comes as a float
    }
  });
}

int64_t rounded(int64_t value, DType dtype) {
  return dispatch(dtype, [value](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (is_floating_v<T>) {
      return value;
    } else {
      return static_cast<int64_t>(static_cast<T>(value));
    }
  });
}

template <typename T>
T number_of(const ir::Attribute& scalar) {
  if (const bool* boolean = std::get_if<bool>(&scalar)) return *boolean ? T{1} : T{0};
  if (const ir::Dim* integer = std::get_if<ir::Dim>(&scalar)) {
    return static_cast<T>(integer->value());
  }
  const double real = std::get<double>(scalar);
  if constexpr (std::is_same_v<T, int64_t>) {
    return to_integer<int64_t>(real);
  } else {
    return static_cast<T>(real);
  }
}

template float number_of<float>(const ir::Attribute&);
template double number_of<double>(const ir::Attribute&);
template int64_t number_of<int64_t>(const ir::Attribute&);

template <typename T>
void Source::read(std::span<const int64_t> index, std::span<T> row) const {
  if (view_ == nullptr) {
    std::fill(row.begin(), row.end(), number_of<T>(*scalar_));
  } else {
    const size_t added = index.size() - view_->rank();
    int64_t offset = 0, stride = 0;
    for (size_t d = 0; d < view_->rank(); ++d) {
      stride = view_->size(d) == 1 ? 0 : view_->strides()[d];
      offset += index[added + d] * stride;
    }
    view_->get_run(offset, stride, static_cast<int64_t>(row.size()), row.data());
  }
  if (!rounds_) return;
  for (T& value : row) value = rounded(value, dtype_);
}

template void Source::read<float>(std::span<const int64_t>, std::span<float>) const;
template void Source::read<int64_t>(std::span<const int64_t>, std::span<int64_t>) const;

Source source(const Call& call, std::string_view name, DType dtype, Scalars scalars) {
  const auto& attributes = call.node.op->attributes;
  for (size_t i = 0; i < attributes.size(); ++i) {
    if (attributes[i].name == name) return {call.node.attributes[i], dtype, scalars};
  }
  return {call.input(name), dtype, scalars};
}

template <typename T>
void write(const View& view, std::span<const int64_t> index, std::span<const T> row) {
  const int64_t stride = view.rank() == 0 ? 0 : view.strides().back();
  view.set_run(view.offset(index), stride, static_cast<int64_t>(row.size()), row.data());
}

template void write<float>(const View&, std::span<const int64_t>, std::span<const float>);
template void write<int64_t>(const View&, std::span<const int64_t>, std::span<const int64_t>);

}  // namespace ostinato::cpu::reference
