#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

namespace ostinato {

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
  std::span<const uint8_t> bytes() const { return {data(), size_}; }

 private:
  MappedFile(std::filesystem::path path, void* data, size_t size)
      : path_(std::move(path)), data_(data), size_(size) {}

  std::filesystem::path path_;
  void* data_;
  size_t size_;
};

}  // namespace ostinato
