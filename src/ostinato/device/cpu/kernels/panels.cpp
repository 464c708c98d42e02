#include "ostinato/device/cpu/kernels/panels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ostinato/device/cpu/kernels/panels.cpp"
#include <fmt/format.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "ostinato/base/memory.h"
#include "ostinato/base/threads.h"

HWY_BEFORE_NAMESPACE();
namespace ostinato::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Four columns of so many units as rows that are `width` units apart.
void transpose_four(const char* from, int64_t column_stride, int64_t count, int64_t width,
                    uint32_t* to) {
  int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::FixedTag<uint32_t, 4> units;
  const hn::FixedTag<uint64_t, 2> pairs;
  for (; i + 4 <= count; i += 4, from += 16, to += 4 * width) {
    const auto column = [&](int64_t j) {
      return hn::LoadU(units, reinterpret_cast<const uint32_t*>(from + j * column_stride));
    };
    const auto a = column(0), b = column(1), c = column(2), d = column(3);
    const auto ab = hn::BitCast(pairs, hn::InterleaveLower(units, a, b));
    const auto cd = hn::BitCast(pairs, hn::InterleaveLower(units, c, d));
    const auto ab_high = hn::BitCast(pairs, hn::InterleaveUpper(units, a, b));
    const auto cd_high = hn::BitCast(pairs, hn::InterleaveUpper(units, c, d));
    const auto store = [&](auto row, int64_t at) {
      hn::StoreU(hn::BitCast(units, row), units, to + at * width);
    };
    store(hn::InterleaveLower(pairs, ab, cd), 0);
    store(hn::InterleaveUpper(pairs, ab, cd), 1);
    store(hn::InterleaveLower(pairs, ab_high, cd_high), 2);
    store(hn::InterleaveUpper(pairs, ab_high, cd_high), 3);
  }
#endif
  for (; i < count; ++i, from += 4, to += width) {
    for (int64_t j = 0; j < 4; ++j) std::memcpy(to + j, from + j * column_stride, 4);
  }
}

}  // namespace ostinato::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ostinato::cpu {

HWY_EXPORT(transpose_four);

namespace {

const char* at(const Matrix& matrix, int64_t row, int64_t column) {
  return static_cast<const char*>(matrix.data) + row * matrix.row_stride +
         column * matrix.column_stride;
}

template <typename Unit>
Unit read(const char* from) {
  Unit unit;
  std::memcpy(&unit, from, sizeof(unit));
  return unit;
}

// Whose columns' elements lie side by side. A cache line of each column at a time, so that what is
// written stays in the L1 cache until it is whole.
template <typename Unit>
void pack_columns(const Matrix& matrix, int64_t steps, int64_t columns, int64_t width,
                  Unit* panel) {
  constexpr auto kUnit = static_cast<int64_t>(sizeof(Unit));
  constexpr int64_t kLine = 64 / kUnit;
  for (int64_t begin = 0; begin < steps; begin += kLine) {
    const int64_t count = std::min(kLine, steps - begin);
    int64_t j = 0;
    if constexpr (kUnit == 4) {
      for (; j + 4 <= columns; j += 4) {
        HWY_DYNAMIC_DISPATCH(transpose_four)
        (at(matrix, 0, j) + begin * kUnit, matrix.column_stride, count, width,
         panel + begin * width + j);
      }
    }
    for (; j < columns; ++j) {
      const char* from = at(matrix, 0, j) + begin * kUnit;
      Unit* to = panel + begin * width + j;
      for (int64_t i = 0; i < count; ++i) to[i * width] = read<Unit>(from + i * kUnit);
    }
  }
}

// Whose rows' elements lie side by side.
template <typename Unit>
void pack_rows(const Matrix& matrix, int64_t inner, int64_t columns, int64_t width, Unit* panel) {
  for (int64_t i = 0; i < inner; ++i) {
    std::memcpy(panel + i * width, at(matrix, i, 0), static_cast<size_t>(columns) * sizeof(Unit));
  }
}

void pack_row_pairs(const Matrix& matrix, int64_t inner, int64_t columns, int64_t width,
                    uint32_t* panel) {
  for (int64_t i = 0; i + 1 < inner; i += 2) {
    const char *even = at(matrix, i, 0), *odd = at(matrix, i + 1, 0);
    uint32_t* to = panel + i / 2 * width;
    for (int64_t j = 0; j < columns; ++j) {
      to[j] = read<uint16_t>(even + 2 * j) | static_cast<uint32_t>(read<uint16_t>(odd + 2 * j))
                                                 << 16;
    }
  }
}

template <typename Unit>
void pack_any(const Matrix& matrix, int64_t inner, int64_t columns, int64_t width, Unit* panel) {
  for (int64_t i = 0; i < inner; ++i) {
    for (int64_t j = 0; j < columns; ++j) panel[i * width + j] = read<Unit>(at(matrix, i, j));
  }
}

// Pairs from row `begin` on; a missing last row counts as zero.
void pack_any_pairs(const Matrix& matrix, int64_t begin, int64_t inner, int64_t columns,
                    int64_t width, uint32_t* panel) {
  for (int64_t i = begin; i < inner; i += 2) {
    for (int64_t j = 0; j < columns; ++j) {
      uint32_t pair = read<uint16_t>(at(matrix, i, j));
      if (i + 1 < inner) pair |= static_cast<uint32_t>(read<uint16_t>(at(matrix, i + 1, j))) << 16;
      panel[i / 2 * width + j] = pair;
    }
  }
}

template <typename Unit>
void pack_single(const Matrix& matrix, int64_t inner, int64_t columns, int64_t width, Unit* panel) {
  if (matrix.column_stride == sizeof(Unit)) {
    pack_rows(matrix, inner, columns, width, panel);
  } else if (matrix.row_stride == sizeof(Unit)) {
    pack_columns(matrix, inner, columns, width, panel);
  } else {
    pack_any(matrix, inner, columns, width, panel);
  }
}

void pack_pairs(const Matrix& matrix, int64_t inner, int64_t columns, int64_t width,
                uint32_t* panel) {
  const int64_t whole = inner / 2 * 2;
  if (matrix.column_stride == 2) {
    pack_row_pairs(matrix, whole, columns, width, panel);
  } else if (matrix.row_stride == 2) {
    pack_columns(matrix, whole / 2, columns, width, panel);
  } else {
    pack_any_pairs(matrix, 0, whole, columns, width, panel);
  }
  pack_any_pairs(matrix, whole, inner, columns, width, panel);
}

}  // namespace

void pack_panel(const TileKernel& kernel, const Matrix& matrix, int64_t inner, int64_t columns,
                void* panel) {
  if (inner == 0) return;
  const int64_t width = round_up(columns, kPanelGroup);
  if (columns < width) {
    std::memset(panel, 0, static_cast<size_t>(panels_bytes(kernel, inner, columns)));
  }
  if (kernel.depth == 2) {
    pack_pairs(matrix, inner, columns, width, static_cast<uint32_t*>(panel));
  } else if (kernel.b == DType::float32) {
    pack_single(matrix, inner, columns, width, static_cast<uint32_t*>(panel));
  } else {
    pack_single(matrix, inner, columns, width, static_cast<uint16_t*>(panel));
  }
}

std::shared_ptr<const void> pack_constant(device::PackedWeights& packed, const TileKernel& kernel,
                                          const Matrix& matrix, int64_t inner, int64_t columns,
                                          int threads) {
  const size_t bytes = static_cast<size_t>(panels_bytes(kernel, inner, columns));
  const std::string format =
      fmt::format("panels {} {} {}x{} {},{}", kPanelLayout, name_of(kernel.b), inner, columns,
                  matrix.row_stride, matrix.column_stride);
  const char* last = at(matrix, inner - 1, columns - 1);
  const std::span<const uint8_t> elements(
      static_cast<const uint8_t*>(matrix.data),
      static_cast<size_t>(last - static_cast<const char*>(matrix.data)) + size_of(kernel.b));
  return packed.get(elements, format, bytes, threads, [&] {
    constexpr size_t kWorthThreads = 1 << 20;
    std::shared_ptr<void> panels = allocate_packed(bytes);
    ThreadTeam team(bytes < kWorthThreads ? 1 : threads);
    team.run([&](Worker worker) {
      const Range range = part_of(panel_count(kernel, columns), worker);
      for (int64_t p = range.begin; p < range.end; ++p) {
        const Range part = panel_columns(kernel, p, columns);
        pack_panel(kernel, {at(matrix, 0, part.begin), matrix.row_stride, matrix.column_stride},
                   inner, part.end - part.begin,
                   static_cast<char*>(panels.get()) + panels_bytes(kernel, inner, part.begin));
      }
    });
    return panels;
  });
}

}  // namespace ostinato::cpu
#endif
