#pragma once

#include <cstdint>

#include "ostinato/tensor.h"

namespace ostinato::cpu {

/// Reads elements of an index tensor: int64 or int32.
class IndexReader {
 public:
  explicit IndexReader(DType dtype) : wide_(dtype == DType::int64) {}

  int64_t read(const void* from) const {
    return wide_ ? *static_cast<const int64_t*>(from) : *static_cast<const int32_t*>(from);
  }

 private:
  bool wide_;
};

}  // namespace ostinato::cpu
