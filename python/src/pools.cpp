#include "pools.h"

#include <map>

namespace ostinato::python {

namespace {

using Arenas =
    std::map<std::pair<std::string, const device::Stream*>, std::weak_ptr<runtime::Arena>>;

Arenas& arenas() {
  static Arenas instance;
  return instance;
}

}  // namespace

std::shared_ptr<runtime::Arena> pool_arena(const std::string& pool,
                                           const std::shared_ptr<device::Stream>& stream) {
  if (pool.empty()) return nullptr;
  auto& known = arenas()[{pool, stream.get()}];
  std::shared_ptr<runtime::Arena> arena = known.lock();
  if (arena == nullptr) {
    arena = std::make_shared<runtime::Arena>();
    known = arena;
  }
  return arena;
}

size_t pool_bytes(const std::string& pool) {
  size_t bytes = 0;
  for (const auto& [key, known] : arenas()) {
    const std::shared_ptr<runtime::Arena> arena = known.lock();
    if (key.first == pool && arena != nullptr) bytes += arena->bytes();
  }
  return bytes;
}

}  // namespace ostinato::python
