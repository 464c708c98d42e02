#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "ostinato/error.h"

namespace ostinato {

struct WeightCacheOptions {
  /// Empty: that of the command, OSTINATO_CACHE_DIR or else ~/.cache/ostinato.
  std::filesystem::path folder = {};
  /// Bytes of packed weights at most: those used longest ago go. 0 keeps nothing; none:
  /// OSTINATO_CACHE_SIZE, or else 16 GB.
  std::optional<uint64_t> limit = {};
  /// Told, by threads that open models, compile or run, what is wrong with the folder: things go on
  /// without it. Empty: a line on stderr.
  std::function<void(const std::string& warning)> warn = {};
};

/// What is kept on disk so that later processes start sooner: packed weights, and what is known of
/// the files that they come from (docs/cache.md). Nothing is kept unless a cache is given to
/// `Model::open` and to what compiles; the two need not be given the same.
///
///     const WeightCache cache = WeightCache::open();
///     const Model model = Model::open("qwen", {.cache = cache});
///     Generator generator(model, {.cache = cache});
///
/// A handle: copies share it, and any threads may use it at once.
class OSTINATO_API WeightCache {
 public:
  /// Keeps nothing.
  WeightCache() = default;

  /// Throws `invalid_argument` where no folder is given and there is no home for one, and for an
  /// OSTINATO_CACHE_SIZE that is no whole number. A folder that cannot be used is found out, and
  /// warned of, when something is to be kept there.
  static WeightCache open(const WeightCacheOptions& options = {});

  bool keeps() const { return impl_ != nullptr; }  ///< whether anything is kept at all

  /// Returns when all weights packed so far are on disk. Otherwise a thread of the lowest priority
  /// writes them, and the last of the handles, programs and generators that share the cache waits
  /// for it when it goes.
  void finish() const;

 private:
  friend struct Access;
  struct Impl;
  explicit WeightCache(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

  std::shared_ptr<const Impl> impl_;
};

}  // namespace ostinato
