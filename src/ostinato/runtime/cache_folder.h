#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>

#include "ostinato/base/known_files.h"
#include "ostinato/device/device.h"

namespace ostinato::runtime {

/// What later starts find on disk: packed weights, and what is known of the files they come from.
/// Both null where nothing is to be kept.
struct CacheFolder {
  std::shared_ptr<device::PackedCache> packed;
  std::shared_ptr<KnownFiles> known;
};

/// In `packed` and `known` of the folder.
/// @param root empty: nothing is kept
/// @param limit bytes of packed weights, 0 to keep nothing; none: `OSTINATO_CACHE_SIZE`
/// Throws as `PackedCache::open`.
CacheFolder open_cache_folder(const std::filesystem::path& root,
                              const device::PackedCache::Warn& warn,
                              std::optional<size_t> limit = {});

}  // namespace ostinato::runtime
