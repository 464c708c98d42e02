#pragma once

#include <cstdint>

#include "ostinato/tensor.h"

/// What attention does with rows of scores and of sums between its products.
namespace ostinato::cpu {

/// Of a row's softmax as far as its keys have been seen.
struct SoftmaxState {
  float max, sum;
};

struct AttentionRows {
  /// x = cap · tanh(scale / cap · x)
  void (*cap)(float* x, int64_t count, float scale, float cap);

  /// Turns `count` scores x into weights e^(scale·x + bias - max), with the maximum of all that was
  /// seen, and takes them into the state. Returns what earlier sums must be multiplied by.
  /// @param x is overwritten
  /// @param bias null for none
  /// @param weights rounded to their dtype; may be x
  float (*soften)(float* x, int64_t count, float scale, const float* bias, SoftmaxState& state,
                  void* weights);

  /// sums = sums · factor + c
  void (*accumulate)(const float* c, float factor, float* sums, int64_t count);

  /// y = sums · factor, rounded to the dtype
  void (*write)(const float* sums, float factor, void* y, int64_t count);
};

/// @param dtype of the output: float32, bfloat16 or float16
/// @param weights their dtype: float32 or bfloat16
AttentionRows attention_rows(DType dtype, DType weights);

}  // namespace ostinato::cpu
