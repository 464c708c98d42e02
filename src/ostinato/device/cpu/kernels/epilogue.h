#pragma once

#include "ostinato/device/cpu/kernels/tile.h"
#include "ostinato/ops/activation.h"

/// What becomes of a tile's sums on their way to the output.
namespace ostinato::cpu {

using ops::Activation;

/// A matrix of the output's dtype that is added; null for none.
struct Addend {
  const void* data = nullptr;
  int64_t row_stride = 0, column_stride = 0;  ///< bytes
};

/// y = activation(alpha · c + beta · bias) · gate + residual, rounded once.
struct Epilogue {
  const float* c = nullptr;  ///< rows of `kPanelColumns`
  int64_t rows = 0, columns = 0;
  float alpha = 1, beta = 1;
  Addend bias = {}, residual = {};
  void* y = nullptr;
  int64_t y_stride = 0;         ///< bytes from row to row; a row's elements lie side by side
  const float* gate = nullptr;  ///< rows of `kPanelColumns`; null for none
};
using EpilogueFunction = void (*)(const Epilogue& epilogue);

/// @param dtype of the output and the addends: float32, bfloat16 or float16
EpilogueFunction epilogue_function(DType dtype, Activation activation);

/// What makes gates: activation(alpha · c + beta · bias) as floats, whatever the dtype of the bias.
EpilogueFunction gate_function(DType dtype, Activation activation);

}  // namespace ostinato::cpu
