#include "ostinato/device/cuda/driver.h"

#include <dlfcn.h>

#include "ostinato/base/error.h"

namespace ostinato::cuda {

namespace {

constexpr std::string_view kStage = "device/cuda";
constexpr int kOldestDriver = 12080;  // CUDA 12.8, as the driver counts

const Driver* replacement = nullptr;

// A symbol is the function's name after the header's macros: `cuMemFreeAsync`,
// `cuGraphExecUpdate_v2`.
#define OSTINATO_SYMBOL(name) OSTINATO_QUOTED(name)
#define OSTINATO_QUOTED(name) #name

Driver load() {
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    fail(ErrorCode::unsupported, kStage,
         "Install NVIDIA's driver, or use --device cpu; in a container, start it with the GPU.",
         "expected NVIDIA's driver (libcuda.so.1), found none");
  }
  Driver loaded;
#define OSTINATO_LOAD(name)                                                                     \
  loaded.name = reinterpret_cast<decltype(loaded.name)>(dlsym(library, OSTINATO_SYMBOL(name))); \
  if (loaded.name == nullptr) {                                                                 \
    fail(ErrorCode::unsupported, kStage, "Update NVIDIA's driver to CUDA 12.8 or later.",       \
         "expected {} in NVIDIA's driver, found none", OSTINATO_SYMBOL(name));                  \
  }
  OSTINATO_DRIVER_FUNCTIONS(OSTINATO_LOAD)
#undef OSTINATO_LOAD
  int version = 0;
  if (loaded.cuDriverGetVersion(&version) != CUDA_SUCCESS || version < kOldestDriver) {
    fail(ErrorCode::unsupported, kStage, "Update NVIDIA's driver.",
         "expected a driver of CUDA 12.8 or later, got one of {}.{}", version / 1000,
         version % 1000 / 10);
  }
  const CUresult result = loaded.cuInit(0);
  if (result != CUDA_SUCCESS) {
    const char* name = "an unknown error";
    loaded.cuGetErrorName(result, &name);
    fail(ErrorCode::unsupported, kStage,
         "See that nvidia-smi lists a GPU that this user may use, and CUDA_VISIBLE_DEVICES.",
         "expected a GPU that NVIDIA's driver can use, got {}", name);
  }
  return loaded;
}

}  // namespace

const Driver& driver() {
  if (replacement != nullptr) return *replacement;
  static const Driver instance = load();
  return instance;
}

void use_driver(const Driver* driver) { replacement = driver; }

void check(CUresult result, std::string_view call) {
  if (result == CUDA_SUCCESS) return;
  const char* name = "an unknown error";
  driver().cuGetErrorName(result, &name);
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    fail(
        ErrorCode::out_of_memory, kStage,
        "Use a smaller batch or sequence, or a GPU with more free memory (see `ostinato devices`).",
        "{} found too little memory on the GPU", call);
  }
  fail(ErrorCode::internal, kStage,
       "Run it again under compute-sanitizer, and report what that says.", "{} failed with {}",
       call, name);
}

}  // namespace ostinato::cuda
