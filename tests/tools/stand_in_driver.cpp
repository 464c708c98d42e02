#include <type_traits>

#include "device/cuda/fake_driver.h"
#include "ostinato/device/cuda/blas.h"

/// The stand-in driver under the names that programs look for in `libcuda.so.1`, and the stand-in
/// for cuBLASLt under those of `libcublasLt.so.13`, which is a link to the same file.
namespace {

const ostinato::cuda::Driver& functions() {
  static const ostinato::cuda::Driver& instance = []() -> const ostinato::cuda::Driver& {
    ostinato::cuda::FakeMachine machine;
    machine.work_waits = false;
    ostinato::cuda::use_fake_driver(machine);
    return ostinato::cuda::driver();
  }();
  return instance;
}

using Blas = ostinato::cuda::blas::Library;

const Blas& blas_functions() {
  functions();  // brings both
  return ostinato::cuda::blas::library();
}

}  // namespace

// Each name is the table's function, found when the name is looked up.
#define OSTINATO_RESOLVE(name) \
  extern "C" decltype(&::name) resolve_##name() { return functions().name; }
OSTINATO_DRIVER_FUNCTIONS(OSTINATO_RESOLVE)

#define OSTINATO_EXPORT(name) \
  extern "C" __attribute__((visibility("default"), ifunc("resolve_" #name))) decltype(::name) name;
OSTINATO_DRIVER_FUNCTIONS(OSTINATO_EXPORT)

#define OSTINATO_EXPORT_BLAS(name, parameters)                                               \
  extern "C" decltype(Blas::name) resolve_cublasLt##name() { return blas_functions().name; } \
  extern "C" __attribute__((visibility("default"), ifunc("resolve_cublasLt" #name)))         \
  std::remove_pointer_t<decltype(Blas::name)>                                                \
      cublasLt##name;
OSTINATO_BLAS_FUNCTIONS(OSTINATO_EXPORT_BLAS)

/// How often a stream was waited for, and how many copies to or from the host were queued.
extern "C" __attribute__((visibility("default"))) size_t stand_in_waits() {
  return ostinato::cuda::fake_counts().synchronisations;
}
extern "C" __attribute__((visibility("default"))) size_t stand_in_copies() {
  return ostinato::cuda::fake_counts().copies;
}
