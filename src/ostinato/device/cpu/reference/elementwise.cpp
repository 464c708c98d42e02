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
void Source::read(std::span<const int64_t> index, std::span<T> row) const {
  if (view_ == nullptr) {
    std::fill(row.begin(), row.end(), ir::number_of<T>(*scalar_));
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
