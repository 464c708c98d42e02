#include "runtime/hooks.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>

#include <atomic>

#include "ostinato/ir/graph.h"

namespace {

std::atomic<bool> watching{false};
std::atomic<size_t> allocations{0}, locks{0}, name_look_ups{0}, aligned_bytes{0};

void count(std::atomic<size_t>& counter, size_t amount = 1) {
  if (watching.load(std::memory_order_relaxed)) {
    counter.fetch_add(amount, std::memory_order_relaxed);
  }
}

}  // namespace

namespace ostinato::test {

Watch::Watch() {
  allocations = locks = name_look_ups = aligned_bytes = 0;
  watching = true;
}
Watch::~Watch() { watching = false; }
Counts Watch::counts() const { return {allocations, locks, name_look_ups, aligned_bytes}; }

}  // namespace ostinato::test

// The C library's own functions, interposed.
#ifndef OSTINATO_SANITIZED
extern "C" {

void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);

void* malloc(size_t bytes) {
  count(allocations);
  return __libc_malloc(bytes);
}
void* calloc(size_t items, size_t bytes) {
  count(allocations);
  return __libc_calloc(items, bytes);
}
void* realloc(void* old_memory, size_t bytes) {
  count(allocations);
  return __libc_realloc(old_memory, bytes);
}
void* aligned_alloc(size_t alignment, size_t bytes) {
  count(allocations);
  count(aligned_bytes, bytes);
  return __libc_memalign(alignment, bytes);
}
int posix_memalign(void** result, size_t alignment, size_t bytes) {
  count(allocations);
  count(aligned_bytes, bytes);
  *result = __libc_memalign(alignment, bytes);
  return *result == nullptr ? ENOMEM : 0;
}

int pthread_mutex_lock(pthread_mutex_t* mutex) {
  static const auto real =
      reinterpret_cast<int (*)(pthread_mutex_t*)>(dlsym(RTLD_NEXT, "pthread_mutex_lock"));
  count(locks);
  return real(mutex);
}
int pthread_rwlock_rdlock(pthread_rwlock_t* lock) {
  static const auto real =
      reinterpret_cast<int (*)(pthread_rwlock_t*)>(dlsym(RTLD_NEXT, "pthread_rwlock_rdlock"));
  count(locks);
  return real(lock);
}
int pthread_rwlock_wrlock(pthread_rwlock_t* lock) {
  static const auto real =
      reinterpret_cast<int (*)(pthread_rwlock_t*)>(dlsym(RTLD_NEXT, "pthread_rwlock_wrlock"));
  count(locks);
  return real(lock);
}

}  // extern "C"
#endif

// The linker sends every call of these accessors from other files to the wrappers (see --wrap in
// tests/CMakeLists.txt). `attribute`, `operand` and `list` are what the typed accessors call too,
// but within graph.cpp, where wrapping does not reach; so those are wrapped themselves.
#define OSTINATO_COUNT_LOOK_UP(result, mangled)                                               \
  extern "C" result __real_##mangled(const ostinato::ir::Node*, std::string_view);            \
  extern "C" result __wrap_##mangled(const ostinato::ir::Node*, std::string_view);            \
  extern "C" result __wrap_##mangled(const ostinato::ir::Node* node, std::string_view name) { \
    count(name_look_ups);                                                                     \
    return __real_##mangled(node, name);                                                      \
  }

OSTINATO_COUNT_LOOK_UP(
    const ostinato::ir::Attribute*,
    _ZNK8ostinato2ir4Node9attributeB5cxx11ESt17basic_string_viewIcSt11char_traitsIcEE)
OSTINATO_COUNT_LOOK_UP(bool, _ZNK8ostinato2ir4Node4flagESt17basic_string_viewIcSt11char_traitsIcEE)
OSTINATO_COUNT_LOOK_UP(int64_t,
                       _ZNK8ostinato2ir4Node7integerESt17basic_string_viewIcSt11char_traitsIcEE)
OSTINATO_COUNT_LOOK_UP(double,
                       _ZNK8ostinato2ir4Node4realESt17basic_string_viewIcSt11char_traitsIcEE)
OSTINATO_COUNT_LOOK_UP(ostinato::ir::Value*,
                       _ZNK8ostinato2ir4Node7operandESt17basic_string_viewIcSt11char_traitsIcEE)
