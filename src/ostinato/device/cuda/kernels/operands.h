#pragma once

#include <cstdint>

/// What the host and the kernels agree on. Every kernel takes two arguments: Operands, which change
/// with where things lie, and a structure of its own that never changes once it is prepared.
namespace ostinato::cuda {

inline constexpr int kMaxOperands = 16;
inline constexpr int kTickets = 4096;

/// Addresses on the device, and where to say that an operand holds what it must not: the kernel
/// stores `node` in `*fault`, reads and writes nothing outside its operands, and goes on.
struct Operands {
  void* at[kMaxOperands];
  const void** fault;
  const void* node;
  /// kTickets counters of the stream's, zero whenever a kernel begins: it leaves them so.
  unsigned* tickets;
};

/// As DType: the values are the same.
enum class Type : int32_t { float32, bfloat16, float16, int64, int32, uint8, boolean };

inline constexpr int kMaxDims = 8;

}  // namespace ostinato::cuda
