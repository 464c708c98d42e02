#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "ostinato/base/digest.h"
#include "ostinato/base/progress.h"

namespace ostinato::device {

/// Packed constants on disk, where later processes find them. Each is a file of its own, named by
/// digests of the constant's elements and of the format: whose constant it is and where the model
/// lies play no part, and a changed weight is another file. A file is used only when a digest of
/// its own contents is right. Thread-safe.
class PackedCache {
 public:
  struct Key {
    Digest constant;     ///< of its elements
    std::string format;  ///< what they are made into
    size_t bytes;        ///< of that

    std::string file_name() const;
  };
  struct Item {
    Key key;
    std::shared_ptr<const void> data;
  };
  /// Told, once each, what is wrong with the cache; nothing of it stops the process. Called by
  /// threads that are in `find` or `finish`.
  using Warn = std::function<void(const std::string& warning)>;

  /// In `ROOT/packed`, of at most `OSTINATO_CACHE_SIZE` gigabytes; null where that is 0, and for no
  /// root. Throws `invalid_argument` for a size that is no whole number.
  static std::shared_ptr<PackedCache> open(const std::filesystem::path& root, Warn warn);
  /// `OSTINATO_CACHE_DIR`, else `ostinato` in `XDG_CACHE_HOME`, else in `~/.cache`; none without a
  /// home.
  static std::filesystem::path default_root();

  /// @param limit bytes of all files
  PackedCache(std::filesystem::path folder, size_t limit, Warn warn);
  /// Calls `finish`.
  ~PackedCache();
  PackedCache(const PackedCache&) = delete;
  PackedCache& operator=(const PackedCache&) = delete;

  /// What was packed earlier, mapped where the kernel maps it in huge pages and read into such
  /// otherwise; null where there is nothing. A damaged file is removed.
  /// @param threads that check and read it
  std::shared_ptr<const void> find(const Key& key, int threads);

  /// Writes them on a thread of the lowest priority. Files that were used longest ago make room,
  /// but for those that this process uses.
  void keep(std::vector<Item> items);

  /// Writes what is left, at once.
  void finish(const Progress& progress = {});

 private:
  class Room;

  std::shared_ptr<const void> load(const Key& key, int threads);
  std::optional<Item> next(bool behind);
  void write_queue(bool behind, const Progress& progress);
  void write(const Item& item, Room& room);

  const std::filesystem::path folder_;
  const size_t limit_;
  const Warn warn_;
  std::mutex mutex_;
  bool usable_ = true;  // until something fails that would fail again
  std::map<std::string, std::weak_ptr<const void>> used_;  // by this process, by file names
  std::deque<Item> queue_;
  std::thread writer_;
  bool writing_ = false, finishing_ = false;
  std::condition_variable writer_ended_;
  std::string failure_;  // of writing, not yet told
};

}  // namespace ostinato::device
