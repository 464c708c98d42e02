#include "ostinato/device/cuda/blas.h"

#include <dlfcn.h>

#include "ostinato/base/error.h"

namespace ostinato::cuda::blas {

namespace {

const Library* replacement = nullptr;

/// By name, as the loader's path and whatever PyTorch loaded have it; later majors as well, whose
/// calls are the same.
void* open() {
  for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"}) {
    if (void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return library;
  }
  fail(ErrorCode::unsupported, "device/cuda",
       "Install it (`pip install nvidia-cublas`) and put the folder of libcublasLt.so.13 on "
       "LD_LIBRARY_PATH, or import torch first, whose CUDA build brings it.",
       "expected cuBLASLt (libcublasLt.so.13), found none");
}

Library load() {
  void* handle = open();
  Library loaded;
#define OSTINATO_LOAD(name, parameters)                                                   \
  loaded.name = reinterpret_cast<decltype(loaded.name)>(dlsym(handle, "cublasLt" #name)); \
  if (loaded.name == nullptr) {                                                           \
    fail(ErrorCode::unsupported, "device/cuda", "Install cuBLAS of CUDA 12.8 or later.",  \
         "expected cublasLt{} in cuBLASLt, found none", #name);                           \
  }
  OSTINATO_BLAS_FUNCTIONS(OSTINATO_LOAD)
#undef OSTINATO_LOAD
  return loaded;
}

}  // namespace

const Library& library() {
  if (replacement != nullptr) return *replacement;
  static const Library instance = load();
  return instance;
}

void use_library(const Library* library) { replacement = library; }

void check(Status status, const char* call) {
  if (status == 0) return;
  fail(ErrorCode::internal, "device/cuda",
       "See that cuBLASLt belongs to the driver's CUDA version, and report it.",
       "cublasLt{} failed with status {}", call, status);
}

}  // namespace ostinato::cuda::blas
