#include "ostinato/cache.h"

#include <cstdio>

#include "ostinato/api/access.h"
#include "ostinato/base/error.h"

namespace ostinato {

runtime::CacheFolder Access::of(const WeightCache& cache) {
  return cache.impl_ == nullptr ? runtime::CacheFolder{} : cache.impl_->folder;
}

WeightCache WeightCache::open(const WeightCacheOptions& options) {
  using device::PackedCache;
  const auto root = options.folder.empty() ? PackedCache::default_root() : options.folder;
  if (root.empty()) {
    fail(ErrorCode::invalid_argument, "api/cache",
         "Give a folder, or set OSTINATO_CACHE_DIR or HOME.",
         "expected a folder for packed weights, got none");
  }
  const PackedCache::Warn warn = options.warn ? options.warn : [](const std::string& text) {
    fmt::print(stderr, "ostinato: warning: {}\n", text);
  };
  const runtime::CacheFolder folder = runtime::open_cache_folder(root, warn, options.limit);
  if (folder.packed == nullptr) return {};
  return WeightCache(std::make_shared<const Impl>(Impl{folder}));
}

void WeightCache::finish() const {
  if (impl_ != nullptr) impl_->folder.packed->finish();
}

}  // namespace ostinato
