#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>

namespace ostinato {

/// What tells a file from another that is put in its place, and its contents from later ones:
/// programs set the time of the last write as they like, that of the last change is the kernel's.
struct FileStamp {
  uint64_t device = 0, inode = 0, bytes = 0;
  int64_t written = 0, changed = 0;  ///< nanoseconds since 1970

  bool operator==(const FileStamp&) const = default;
};

/// Nothing for a path where no file can be seen.
std::optional<FileStamp> stamp_of(const std::filesystem::path& path);

/// A whole file, mapped for reading. What borrows from it holds the shared pointer, and so the
/// mapping lives as long as its last user.
class MappedFile {
 public:
  /// Throws `not_found` where there is no such file and `io` where it cannot be read or is no
  /// regular file. An empty file is a mapping of no bytes.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);

  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  const uint8_t* data() const { return static_cast<const uint8_t*>(data_); }
  size_t size() const { return size_; }
  const FileStamp& stamp() const { return stamp_; }  ///< when it was opened
  std::span<const uint8_t> bytes() const { return {data(), size_}; }

 private:
  MappedFile(std::filesystem::path path, void* data, size_t size, const FileStamp& stamp)
      : path_(std::move(path)), data_(data), size_(size), stamp_(stamp) {}

  std::filesystem::path path_;
  void* data_;
  size_t size_;
  FileStamp stamp_;
};

}  // namespace ostinato
