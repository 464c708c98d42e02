#include "ostinato/device/cpu/kernels/assembly.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "ostinato/base/dtype.h"

namespace ostinato::cpu {

namespace {

/// Of an empty part the other sizes may be any: their product may not fit.
bool is_empty(std::span<const int64_t> sizes) {
  return std::any_of(sizes.begin(), sizes.end(), [](int64_t size) { return size <= 0; });
}

constexpr int64_t kTile = 16;    // rows and columns that are transposed at a time
constexpr int64_t kChunk = 256;  // elements that are converted at a time

template <typename T>
void fill_row(const void* value, void* to, int64_t count) {
  std::fill_n(static_cast<T*>(to), count, *static_cast<const T*>(value));
}

// A part of a matrix whose columns are contiguous at `from` and whose rows are at `to`.
template <typename T>
void transpose_tile(const char* from, int64_t from_stride, char* to, int64_t to_stride,
                    int64_t rows, int64_t columns) {
  T tile[kTile][kTile];
  for (int64_t c = 0; c < columns; ++c) {
    std::memcpy(tile[c], from + c * from_stride, static_cast<size_t>(rows) * sizeof(T));
  }
  for (int64_t r = 0; r < rows; ++r) {
    T* row = reinterpret_cast<T*>(to + r * to_stride);
    for (int64_t c = 0; c < columns; ++c) row[c] = tile[c][r];
  }
}

template <typename T>
void transpose(const char* from, int64_t from_stride, char* to, int64_t to_stride, int64_t rows,
               int64_t columns) {
  for (int64_t r = 0; r < rows; r += kTile) {
    for (int64_t c = 0; c < columns; c += kTile) {
      transpose_tile<T>(from + c * from_stride + r * static_cast<int64_t>(sizeof(T)), from_stride,
                        to + r * to_stride + c * static_cast<int64_t>(sizeof(T)), to_stride,
                        std::min(kTile, rows - r), std::min(kTile, columns - c));
    }
  }
}

}  // namespace

std::optional<StridedCopy> StridedCopy::make(std::span<const int64_t> sizes, const Side& from,
                                             const Side& to) {
  const Strides strides[] = {from.strides, to.strides};
  const std::optional<Loops> loops = make_loops(sizes, strides);
  if (!loops) return std::nullopt;
  StridedCopy result;
  result.loops_ = *loops;
  result.from_size_ = size_of(from.dtype);
  result.to_size_ = size_of(to.dtype);
  if (from.dtype != to.dtype) {
    result.convert_ = find_convert(from.dtype, to.dtype);
    return result;
  }
  // Where the source is contiguous along an outer dim, that dim goes next to the innermost.
  Loops& l = result.loops_;
  const int64_t element = static_cast<int64_t>(result.from_size_);
  if (l.rank < 2 || l.inner_strides()[0] == element || l.inner_strides()[0] == 0 ||
      l.inner_strides()[1] != element) {
    return result;
  }
  for (size_t d = 0; d + 1 < l.rank; ++d) {
    if (l.strides[d][0] != element) continue;
    std::rotate(l.sizes.begin() + d, l.sizes.begin() + d + 1, l.sizes.begin() + l.rank - 1);
    std::rotate(l.strides.begin() + d, l.strides.begin() + d + 1, l.strides.begin() + l.rank - 1);
    result.transposes_ = true;
    break;
  }
  return result;
}

void StridedCopy::run(const void* from, void* to, Worker worker) const {
  if (transposes_) return run_transposed(from, to, worker);
  if (loops_.rank > 1) return run_rows(from, to, part_of(loops_.rows(), worker));
  const Range range = part_of(loops_.inner(), worker, 64);
  const Loops::Offsets& stride = loops_.inner_strides();
  run_row(at(from, range.begin * stride[0]), at(to, range.begin * stride[1]),
          range.end - range.begin);
}

void StridedCopy::run_rows(const void* from, void* to, Range rows) const {
  RowCursor cursor(loops_, rows.begin);
  for (int64_t row = rows.begin; row < rows.end; ++row, cursor.next()) {
    run_row(at(from, cursor.offset(0)), at(to, cursor.offset(1)), loops_.inner());
  }
}

void StridedCopy::run_row(const char* from, char* to, int64_t count) const {
  const auto [from_stride, to_stride] =
      std::pair(loops_.inner_strides()[0], loops_.inner_strides()[1]);
  const bool adjacent = to_stride == static_cast<int64_t>(to_size_);
  if (convert_ == nullptr) {
    if (from_stride == 0 && adjacent) {
      switch (to_size_) {
        case 1: return fill_row<uint8_t>(from, to, count);
        case 2: return fill_row<uint16_t>(from, to, count);
        case 4: return fill_row<uint32_t>(from, to, count);
        default: return fill_row<uint64_t>(from, to, count);
      }
    }
    if (adjacent) return gather(from, from_stride, from_size_, to, count);
    if (from_stride == static_cast<int64_t>(from_size_)) {
      return spread(from, to, to_stride, to_size_, count);
    }
  } else if (adjacent && from_stride == static_cast<int64_t>(from_size_)) {
    return convert_(from, to, count);
  }
  alignas(64) char raw[kChunk * sizeof(int64_t)], converted[kChunk * sizeof(int64_t)];
  for (int64_t i = 0; i < count; i += kChunk) {
    const int64_t chunk = std::min(kChunk, count - i);
    gather(from + i * from_stride, from_stride, from_size_, raw, chunk);
    if (convert_ != nullptr) convert_(raw, converted, chunk);
    spread(convert_ != nullptr ? converted : raw, to + i * to_stride, to_stride, to_size_, chunk);
  }
}

void StridedCopy::run_transposed(const void* from, void* to, Worker worker) const {
  // Each step is one matrix; a worker takes a band of its rows.
  const size_t last = loops_.rank - 1;
  const int64_t columns = loops_.sizes[last];
  const Range band = part_of(loops_.sizes[last - 1], worker, kTile);
  if (band.begin == band.end) return;
  Loops outer = loops_;
  outer.rank = last;  // its innermost dim is the band's
  const int64_t matrices = outer.rows();
  RowCursor cursor(outer, 0);
  for (int64_t i = 0; i < matrices; ++i, cursor.next()) {
    const char* source = at(from, cursor.offset(0) + band.begin * loops_.strides[last - 1][0]);
    char* target = at(to, cursor.offset(1) + band.begin * loops_.strides[last - 1][1]);
    const auto run = [&](auto tag) {
      transpose<typename decltype(tag)::type>(source, loops_.strides[last][0], target,
                                              loops_.strides[last - 1][1], band.end - band.begin,
                                              columns);
    };
    switch (to_size_) {
      case 1: run(type_tag<uint8_t>()); break;
      case 2: run(type_tag<uint16_t>()); break;
      case 4: run(type_tag<uint32_t>()); break;
      default: run(type_tag<uint64_t>()); break;
    }
  }
}

void Assembly::copy(const Place& from, const Place& to, std::span<const int64_t> sizes) {
  if (is_empty(sizes)) return;
  const DType from_dtype = request_.inputs[from.index]->dtype;
  const DType to_dtype = request_.outputs[to.index].dtype;
  add(StridedCopy::make(sizes, {from_dtype, from.strides}, {to_dtype, to.strides}), from, to, 0,
      size_of(from_dtype) + size_of(to_dtype), sizes);
}

void Assembly::fill(uint64_t bits, const Place& to, std::span<const int64_t> sizes) {
  if (is_empty(sizes)) return;
  const DType dtype = request_.outputs[to.index].dtype;
  const Place constant = {kConstant, 0, Strides(sizes.size(), 0)};
  add(StridedCopy::make(sizes, {dtype, constant.strides}, {dtype, to.strides}), constant, to, bits,
      size_of(dtype), sizes);
}

void Assembly::add(std::optional<StridedCopy> copy, const Place& from, const Place& to,
                   uint64_t constant, size_t element_bytes, std::span<const int64_t> sizes) {
  complete_ &= copy.has_value();
  if (!copy) return;
  int64_t count = 1;
  for (int64_t size : sizes) count *= size;
  bytes_ += static_cast<size_t>(count) * element_bytes;
  parts_.push_back({*copy, from.index, to.index, from.offset, to.offset, constant});
}

void Assembly::run(const Args& args, Worker worker) const {
  for (const Part& part : parts_) {
    const void* from = part.operand == kConstant ? &part.constant : args.inputs[part.operand];
    const void* source = at(from, part.from_offset);
    void* target = at(args.outputs[part.output], part.to_offset);
    if (source != target) part.copy.run(source, target, worker);  // the same: written over
  }
}

std::unique_ptr<Kernel> Assembly::finish(std::unique_ptr<Assembly> assembly) {
  if (!assembly->complete_) return nullptr;
  assembly->workers_ = workers_for_bytes(assembly->bytes_, assembly->request_.threads);
  return assembly;
}

uint64_t bits_of(const ir::Attribute& value, DType dtype) {
  const auto real = ir::number_of<double>(value);
  const auto integer = ir::number_of<int64_t>(value);
  return dispatch(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T element{};
    if constexpr (is_floating_v<T>) {
      element = from_float<T>(static_cast<float>(real));
    } else if constexpr (std::is_same_v<T, bool>) {
      element = real != 0;
    } else {
      element = static_cast<T>(integer);
    }
    uint64_t bits = 0;
    std::memcpy(&bits, &element, sizeof(T));
    return bits;
  });
}

}  // namespace ostinato::cpu
