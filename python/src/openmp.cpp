#include "openmp.h"

#include <dlfcn.h>

#include "ostinato/base/threads.h"

namespace ostinato::python {

namespace {

template <typename F>
void find(void* library, const char* name, F& function) {
  function = reinterpret_cast<F>(dlsym(library, name));
}

}  // namespace

bool share_openmp_threads() {
  static OpenMp runtime{};
  void* library = dlopen("libgomp.so.1", RTLD_NOLOAD | RTLD_LAZY);  // what is loaded, by its name
  if (library == nullptr) return false;
  find(library, "GOMP_parallel", runtime.parallel);
  find(library, "omp_get_max_threads", runtime.max_threads);
  find(library, "omp_get_num_threads", runtime.thread_count);
  find(library, "omp_get_thread_num", runtime.thread_index);
  const bool complete = runtime.parallel != nullptr && runtime.max_threads != nullptr &&
                        runtime.thread_count != nullptr && runtime.thread_index != nullptr;
  if (complete) share_threads_of(&runtime);
  return complete;
}

}  // namespace ostinato::python
