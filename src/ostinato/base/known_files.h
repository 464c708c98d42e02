#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ostinato/base/digest.h"
#include "ostinato/base/mapped_file.h"

namespace ostinato {

/// What earlier processes found out about mapped files by reading them: the digests of their parts,
/// noted by who has checked these as well. A file is believed to be as it was while it is the same
/// one, of the same size and times, as build systems do; but for a file that was changed less than
/// a minute ago, since the kernel may not have noticed yet what others write to it through their
/// mappings, and on file systems whose times do not tell, such as those of networks. Thread-safe.
class KnownFiles {
 public:
  /// Told, by threads that are in `open`, what is wrong with the folder.
  using Warn = std::function<void(const std::string& warning)>;

  /// @param folder of the notes, a file for each file; made when there are any
  /// @param settled since when a file must not have changed
  KnownFiles(std::filesystem::path folder, Warn warn,
             std::chrono::nanoseconds settled = std::chrono::minutes(1));
  ~KnownFiles();
  KnownFiles(const KnownFiles&) = delete;
  KnownFiles& operator=(const KnownFiles&) = delete;

  /// Whether times tell when a file on this file system has changed.
  static bool times_tell(const std::filesystem::path& path);

  /// Before anything of the file is read.
  void open(const std::shared_ptr<const MappedFile>& file);

  /// Whether it is part of an open file whose times tell of changes.
  bool covers(std::span<const uint8_t> part) const;

  struct Note {
    Digest digest;
    bool own;  ///< of this process, which has read the part
  };
  /// What is noted of a part of an open file, if that has not changed since it was opened.
  std::optional<Note> find(std::span<const uint8_t> part) const;

  /// The same by any that there is in the process: addresses mean the same to all.
  static std::optional<Note> find_any(std::span<const uint8_t> part);

  /// Of what is not covered nothing is noted.
  void note(std::span<const uint8_t> part, const Digest& digest);

  /// Writes what was noted of files that have not changed since they were opened. Where that fails,
  /// later processes read them again.
  void save();

 private:
  struct Part {
    uint64_t bytes;
    Note note;
  };
  using Parts = std::map<uint64_t, Part>;  // by where they begin
  struct File {
    std::weak_ptr<const MappedFile> mapping;
    std::filesystem::path path;
    FileStamp stamp;
    Parts parts;
    bool has_news = false;
  };

  std::filesystem::path path_of(const FileStamp& stamp) const;
  Parts read(const FileStamp& stamp) const;
  void write(const File& file) const;
  void drop_old() const;
  /// The open file that has the part, and where; null for none.
  static std::pair<const File*, uint64_t> locate(const std::vector<File>& files,
                                                 std::span<const uint8_t> part);

  const std::filesystem::path folder_;
  const Warn warn_;
  const std::chrono::nanoseconds settled_;
  mutable std::mutex mutex_;
  std::vector<File> files_;
};

}  // namespace ostinato
