#pragma once

#include <optional>

#include "ostinato/device/cpu/kernel.h"
#include "ostinato/device/cpu/kernels/convert.h"
#include "ostinato/device/cpu/kernels/loops.h"

/// Operators that only move data: their outputs are put together from strided parts of their
/// operands and of constants.
namespace ostinato::cpu {

/// Copies the elements of one shape between two layouts, converting them where the dtypes differ.
class StridedCopy {
 public:
  /// One side of the copy.
  struct Side {
    DType dtype;
    Strides strides;  ///< bytes; zero repeats an element of the source
  };

  /// Nullopt when the walk has too many dims.
  static std::optional<StridedCopy> make(std::span<const int64_t> sizes, const Side& from,
                                         const Side& to);

  /// The worker's part of the copy.
  void run(const void* from, void* to, Worker worker) const;

 private:
  void run_rows(const void* from, void* to, Range rows) const;
  void run_row(const char* from, char* to, int64_t count) const;
  void run_transposed(const void* from, void* to, Worker worker) const;

  Loops loops_;  // operand 0 is the source, operand 1 the target
  Convert convert_ = nullptr;
  size_t from_size_ = 4, to_size_ = 4;
  bool transposes_ = false;  // the source is contiguous along the last dim but one
};

/// Puts outputs together, part after part. Parts must not overlap.
class Assembly final : public Kernel {
 public:
  explicit Assembly(const device::Request& request) : request_(request) {}

  /// Where a part lies in an operand or in an output.
  struct Place {
    size_t index = 0;    ///< which operand or output
    int64_t offset = 0;  ///< bytes
    Strides strides;
  };

  /// Copies elements of `sizes` from an operand to an output.
  void copy(const Place& from, const Place& to, std::span<const int64_t> sizes);

  /// Sets elements of `sizes` to a value, which has the bits of the output's dtype.
  void fill(uint64_t bits, const Place& to, std::span<const int64_t> sizes);

  void run(const Args& args, Worker worker) const override;

  /// Hands the kernel over; null when a part's walk has too many dims.
  static std::unique_ptr<Kernel> finish(std::unique_ptr<Assembly> assembly);

 private:
  static constexpr size_t kConstant = static_cast<size_t>(-1);
  struct Part {
    StridedCopy copy;
    size_t operand, output;
    int64_t from_offset, to_offset;
    uint64_t constant;
  };
  void add(std::optional<StridedCopy> copy, const Place& from, const Place& to, uint64_t constant,
           size_t element_bytes, std::span<const int64_t> sizes);

  const device::Request& request_;  // only while parts are added
  std::vector<Part> parts_;
  size_t bytes_ = 0;
  bool complete_ = true;
};

/// The bits of a scalar (a bool, an integer or a real) in a dtype.
uint64_t bits_of(const ir::Attribute& value, DType dtype);

}  // namespace ostinato::cpu
