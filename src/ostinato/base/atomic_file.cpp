#include "ostinato/base/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <random>
#include <system_error>
#include <utility>

#include "ostinato/base/error.h"

namespace ostinato {

namespace {

constexpr size_t kPiece = size_t{8} << 20;

/// Random, since process numbers repeat between containers that share a disk.
std::filesystem::path temporary_beside(const std::filesystem::path& path) {
  std::random_device random;
  const uint64_t number = (static_cast<uint64_t>(random()) << 32) | random();
  return path.parent_path() / fmt::format(".ostinato-{:016x}.tmp", number);
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path path, Flush flush)
    : path_(std::move(path)), flush_(flush) {
  std::error_code error;
  if (std::filesystem::is_symlink(path_, error)) {
    // A link to nothing stays as it is, and `open` below says what is wrong with it.
    auto target = std::filesystem::weakly_canonical(path_, error);
    if (!error) path_ = std::move(target);
  }
  const auto status = std::filesystem::status(path_, error);
  if (std::filesystem::is_directory(status)) fail_to_write(EISDIR);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    file_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  } else {
    temporary_ = temporary_beside(path_);
    cleanup_ = std::make_unique<InterruptCleanup>(temporary_.string());
    file_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  }
  if (file_ < 0) fail_to_write(errno);
}

AtomicFile::~AtomicFile() { discard(); }

void AtomicFile::write(const void* data, size_t size) {
  const char* next = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = ::write(file_, next, std::min(size, kPiece));
    if (written < 0) {
      if (errno == EINTR) continue;
      const int error = errno;
      discard();
      fail_to_write(error);
    }
    next += written;
    size -= static_cast<size_t>(written);
    written_ += written;
    if (flush_ == Flush::before_commit) keep_disk_busy();
  }
}

// A long fsync, or a write while the kernel has too much to flush, does not listen to Ctrl-C. The
// disk is therefore never more than two pieces behind. Where this is not offered, fsync alone does.
void AtomicFile::keep_disk_busy() {
  const auto piece = static_cast<off64_t>(kPiece);
  while (flushing_ + 2 * piece <= written_) {
    constexpr unsigned kWhole =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    ::sync_file_range(file_, flushing_ + piece, piece, SYNC_FILE_RANGE_WRITE);
    ::sync_file_range(file_, flushing_, piece, kWhole);
    flushing_ += piece;
  }
}

void AtomicFile::commit() {
  const bool flushes = flush_ == Flush::before_commit && !temporary_.empty();
  const bool synced = !flushes || ::fsync(file_) == 0;
  const int sync_error = errno;
  const bool closed = ::close(std::exchange(file_, -1)) == 0;
  if (!synced || !closed || (!temporary_.empty() && ::rename(temporary_.c_str(), path_.c_str()))) {
    const int error = synced ? errno : sync_error;
    discard();
    fail_to_write(error);
  }
  cleanup_.reset();
}

void AtomicFile::discard() noexcept {
  if (file_ >= 0) ::close(std::exchange(file_, -1));
  if (cleanup_ != nullptr) {
    ::unlink(temporary_.c_str());
    cleanup_.reset();
  }
}

void AtomicFile::fail_to_write(int error) const {
  std::string_view hint = "Check the path and the disk.";
  switch (error) {
    case ENOSPC:
    case EDQUOT: hint = "Free space on that disk, or write to another one."; break;
    case EFBIG: hint = "Raise the limit on file sizes (ulimit -f), or write less."; break;
    case EACCES:
    case EPERM:
    case EROFS: hint = "Check the folder's permissions, or write to another folder."; break;
    case ENOENT:
    case ENOTDIR: hint = "Create the folder first."; break;
    case EISDIR: hint = "Give the path of a file, not of a folder."; break;
    default: break;
  }
  fail(ErrorCode::io, "file/write", hint, "could not write {}: {}", path_.string(),
       std::strerror(error));
}

void write_file(const std::filesystem::path& path, std::string_view contents) {
  AtomicFile file(path);
  file.write(contents);
  file.commit();
}

}  // namespace ostinato
