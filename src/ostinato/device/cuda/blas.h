#pragma once

#include <cuda.h>
#include <library_types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

/// The part of cuBLASLt that products need. Its library is large and comes in several ways (with
/// PyTorch, as the package nvidia-cublas, with the toolkit), so it is loaded when it is first asked
/// for, and its few types are declared here: the build needs none of its headers. The values are
/// those of cublasLt.h, which keeps them within a major version.
namespace ostinato::cuda::blas {

using Handle = struct HandleOpaque*;
using Operation = struct OperationOpaque*;
using Layout = struct LayoutOpaque*;
using Preference = struct PreferenceOpaque*;
using Status = int;

struct Algorithm {
  uint64_t data[8];
};
struct Candidate {  // cublasLtMatmulHeuristicResult_t
  Algorithm algorithm;
  size_t workspace_bytes;
  Status status;
  float waves;
  int reserved[4];
};

inline constexpr int kComputeFloat32 = 68;  // CUBLAS_COMPUTE_32F: without TF32
enum OperationAttribute {
  kTransposeA = 3,
  kTransposeB = 4,
  kEpilogue = 7,
  kBiasPointer = 8,
  kBiasType = 26
};
enum LayoutAttribute { kBatchCount = 5, kBatchStride = 6 };
enum PreferenceAttribute {
  kMostWorkspace = 1,
  kAlignmentA = 5,
  kAlignmentB = 6,
  kAlignmentC = 7,
  kAlignmentD = 8
};
enum Epilogue : uint32_t { kNone = 1, kRelu = 2, kBias = 4, kGeluTanh = 32 };

#define OSTINATO_BLAS_FUNCTIONS(X)                                                                \
  X(Create, (Handle*))                                                                            \
  X(MatmulDescCreate, (Operation*, int compute, cudaDataType_t scale))                            \
  X(MatmulDescDestroy, (Operation))                                                               \
  X(MatmulDescSetAttribute, (Operation, int, const void*, size_t))                                \
  X(MatrixLayoutCreate, (Layout*, cudaDataType_t, uint64_t rows, uint64_t columns, int64_t lead)) \
  X(MatrixLayoutDestroy, (Layout))                                                                \
  X(MatrixLayoutSetAttribute, (Layout, int, const void*, size_t))                                 \
  X(MatmulPreferenceCreate, (Preference*))                                                        \
  X(MatmulPreferenceDestroy, (Preference))                                                        \
  X(MatmulPreferenceSetAttribute, (Preference, int, const void*, size_t))                         \
  X(MatmulAlgoGetHeuristic, (Handle, Operation, Layout a, Layout b, Layout c, Layout d,           \
                             Preference, int wanted, Candidate*, int* found))                     \
  X(Matmul, (Handle, Operation, const void* alpha, const void* a, Layout, const void* b, Layout,  \
             const void* beta, const void* c, Layout, void* d, Layout, const Algorithm*,          \
             void* workspace, size_t workspace_bytes, CUstream))

struct Library {
// NOLINTNEXTLINE(bugprone-macro-parentheses): a declaration
#define OSTINATO_FUNCTION(name, parameters) Status(*name) parameters = nullptr;
  OSTINATO_BLAS_FUNCTIONS(OSTINATO_FUNCTION)
#undef OSTINATO_FUNCTION
};

/// Throws `unsupported` with what to install when there is none.
const Library& library();

/// Puts another in place of the library, for tests.
void use_library(const Library* library);

/// Throws `internal` unless the call succeeded.
void check(Status status, const char* call);

}  // namespace ostinato::cuda::blas
