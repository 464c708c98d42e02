#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>

#include "ostinato/base/interrupt.h"

namespace ostinato {

/// Whether a file is on the disk when it appears. One that carries its own check need not be: after
/// a crash of the machine it may be damaged.
enum class Flush { before_commit, later };

/// A file that appears whole or not at all: it is written under a temporary name in the same
/// folder, flushed to the disk, and renamed by `commit`. Without a commit, after an error and on
/// Ctrl-C (see `install_interrupt_handler`) the temporary is removed and an older file of the same
/// name stays as it was. A symbolic link is followed; a device or a pipe is written directly.
/// Every failure throws `io` naming the path.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path, Flush flush = Flush::before_commit);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, size_t size);
  void write(std::string_view text) { write(text.data(), text.size()); }

  /// The last call: makes the file visible under its name.
  void commit();

 private:
  [[noreturn]] void fail_to_write(int error) const;
  void keep_disk_busy();
  void discard() noexcept;

  std::filesystem::path path_;
  Flush flush_;
  std::filesystem::path temporary_;  ///< empty for a device or a pipe
  std::unique_ptr<InterruptCleanup> cleanup_;
  int file_ = -1;
  int64_t written_ = 0;   ///< bytes
  int64_t flushing_ = 0;  ///< bytes that are on the disk
};

/// The whole contents at once.
void write_file(const std::filesystem::path& path, std::string_view contents);

}  // namespace ostinato
