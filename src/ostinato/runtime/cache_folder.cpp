#include "ostinato/runtime/cache_folder.h"

namespace ostinato::runtime {

using device::PackedCache;
namespace fs = std::filesystem;

CacheFolder open_cache_folder(const fs::path& root, const PackedCache::Warn& warn,
                              std::optional<size_t> limit) {
  CacheFolder cache;
  if (!limit) {
    cache.packed = PackedCache::open(root, warn);
  } else if (*limit > 0 && !root.empty()) {
    cache.packed = std::make_shared<PackedCache>(fs::absolute(root) / "packed", *limit, warn);
  }
  if (cache.packed != nullptr) {
    cache.known = std::make_shared<KnownFiles>(fs::absolute(root) / "known", warn);
  }
  return cache;
}

}  // namespace ostinato::runtime
