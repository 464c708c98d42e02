#include "packed.h"

#include <map>

#include "events.h"

namespace ostinato::python {

namespace nb = nanobind;

namespace {

using Caches = std::map<std::string, std::shared_ptr<device::PackedCache>>;

/// Never destroyed: by then there may be no interpreter to warn. `finish_packed` has been called.
Caches& caches() {
  static auto* const instance = new Caches;
  return *instance;
}

void warn(const std::string& warning) {
  const nb::gil_scoped_acquire acquire;
  nb::dict details;
  details["graph"] = "packed weights";
  details["sizes"] = nb::dict();
  details["strict"] = false;
  details["reason"] = warning.c_str();
  tell("unkept", details);
}

}  // namespace

std::shared_ptr<device::PackedCache> packed_cache() {
  using device::PackedCache;
  const std::string root = PackedCache::default_root();
  const auto found = caches().find(root);
  if (found != caches().end()) return found->second;
  return caches()[root] = PackedCache::open(root, warn);
}

void finish_packed() {
  const Caches all = caches();
  const nb::gil_scoped_release release;
  for (const auto& [root, cache] : all) {
    if (cache != nullptr) cache->finish();
  }
}

}  // namespace ostinato::python
