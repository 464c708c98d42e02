#include "device/cuda/fake_driver.h"

/// The stand-in driver under the names that programs look for in `libcuda.so.1`. It has no cuBLASLt
/// beside it: products of many rows end in an error.
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

}  // namespace

// Each name is the table's function, found when the name is looked up.
#define OSTINATO_RESOLVE(name) \
  extern "C" decltype(&::name) resolve_##name() { return functions().name; }
OSTINATO_DRIVER_FUNCTIONS(OSTINATO_RESOLVE)

#define OSTINATO_EXPORT(name) \
  extern "C" __attribute__((visibility("default"), ifunc("resolve_" #name))) decltype(::name) name;
OSTINATO_DRIVER_FUNCTIONS(OSTINATO_EXPORT)

/// How often a stream was waited for, and how many copies to or from the host were queued.
extern "C" __attribute__((visibility("default"))) size_t stand_in_waits() {
  return ostinato::cuda::fake_counts().synchronisations;
}
extern "C" __attribute__((visibility("default"))) size_t stand_in_copies() {
  return ostinato::cuda::fake_counts().copies;
}
