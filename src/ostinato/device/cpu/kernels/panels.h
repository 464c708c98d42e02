#pragma once

#include <algorithm>
#include <memory>

#include "ostinato/base/threads.h"
#include "ostinato/device/cpu/kernels/tile.h"
#include "ostinato/device/device.h"

/// The right matrix of a product, cut into panels of columns that tiles read from one end to the
/// other. Panels are as even as groups of columns go; the last group is rounded up with zeros. The
/// format depends on the dtype and the sizes only, not on the ISA.
namespace ostinato::cpu {

/// Of the format, in which panels are kept on disk too: rises with every change of it.
inline constexpr int kPanelLayout = 2;

/// Elements anywhere in memory.
struct Matrix {
  const void* data;
  int64_t row_stride, column_stride;  ///< bytes
};

inline int64_t round_up(int64_t value, int64_t grain) {
  return (value + grain - 1) / grain * grain;
}

inline int64_t panel_count(const TileKernel& kernel, int64_t columns) {
  return (columns + kernel.columns - 1) / kernel.columns;
}

/// Those of one of the panels of so many columns.
inline Range panel_columns(const TileKernel& kernel, int64_t panel, int64_t columns) {
  const int64_t groups = round_up(columns, kPanelGroup) / kPanelGroup;
  const int64_t count = panel_count(kernel, columns);
  return {panel * groups / count * kPanelGroup,
          std::min((panel + 1) * groups / count * kPanelGroup, columns)};
}

/// Bytes of one step of one column.
inline int64_t unit_bytes(const TileKernel& kernel) {
  return kernel.depth * static_cast<int64_t>(size_of(kernel.b));
}

/// Of `inner` rows and so many columns.
inline int64_t panels_bytes(const TileKernel& kernel, int64_t inner, int64_t columns) {
  return kernel.steps(inner) * unit_bytes(kernel) * round_up(columns, kPanelGroup);
}

/// Packs up to `kPanelColumns` columns, from the matrix's first on, as one panel.
void pack_panel(const TileKernel& kernel, const Matrix& matrix, int64_t inner, int64_t columns,
                void* panel);

/// All panels of a constant: made by the first who asks, on so many threads, and kept in `packed`.
std::shared_ptr<const void> pack_constant(device::PackedWeights& packed, const TileKernel& kernel,
                                          const Matrix& matrix, int64_t inner, int64_t columns,
                                          int threads);

}  // namespace ostinato::cpu
