#pragma once

#include "ostinato/device/cuda/kernels/rows.h"

namespace ostinato::cuda {

inline constexpr int kMostNames = 6;  // index tensors

/// Elements of a tensor that index tensors name, each beside one of another tensor. The positions
/// of the index tensors are the items; every item names an element of each line, which goes through
/// the dims that are not named.
struct NamedParams {
  Walk lines;  ///< the first index tensor, the named tensor, the other
  int64_t line_count, item_count;
  int64_t item_sizes[kMaxDims], other_strides[kMaxDims];
  int64_t index_strides[kMostNames][kMaxDims];
  int64_t sizes[kMostNames], strides[kMostNames];  ///< of the dims that are named
  int32_t item_dims, names;
  int32_t from_end;    ///< whether negative indices count from the end
  int32_t lines_last;  ///< whether neighbours in the other tensor are of neighbouring lines
  Type indices[kMostNames], type;
};

/// The other tensor's elements into the named places, or added to them: of places that are named
/// twice, item after item. Operands: the named tensor, the other or none, the index tensors.
struct PutParams {
  NamedParams named;
  double real;  ///< what is put where there is no other tensor
  int64_t integer;
  int32_t adds;
};

/// As aten.scatter_reduce's `reduce`.
enum class Reduction : int32_t { sum, prod, mean, amax, amin };

/// Of one index tensor. Operands: as PutParams.
struct ScatterReduceParams {
  NamedParams named;
  Reduction reduction;
  int32_t include_self;
};

inline constexpr int kMaskChunk = 4096;  // elements of a mask to a block

/// The source's elements, one after the other, wherever a mask is set. Operands: y, mask, source,
/// and how many each chunk of the mask has, int64.
struct MaskedScatterParams {
  Walk walk;    ///< mask, of y's sizes
  Walk source;  ///< in its own order
  int64_t count, source_count;
  Type type;
};

}  // namespace ostinato::cuda
