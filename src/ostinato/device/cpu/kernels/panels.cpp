#include "ostinato/device/cpu/kernels/panels.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "ostinato/base/memory.h"
#include "ostinato/base/threads.h"

namespace ostinato::cpu {

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
  constexpr int64_t kLine = 64 / sizeof(Unit);
  for (int64_t begin = 0; begin < steps; begin += kLine) {
    const int64_t count = std::min(kLine, steps - begin);
    for (int64_t j = 0; j < columns; ++j) {
      const char* from = at(matrix, 0, j) + begin * static_cast<int64_t>(sizeof(Unit));
      Unit* to = panel + begin * width + j;
      for (int64_t i = 0; i < count; ++i) {
        to[i * width] = read<Unit>(from + i * static_cast<int64_t>(sizeof(Unit)));
      }
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
