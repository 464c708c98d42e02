#include "ostinato/base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "ostinato/base/error.h"

namespace ostinato {

namespace {

constexpr std::string_view kStage = "file/read";

struct FileDescriptor {
  int value;
  ~FileDescriptor() {
    if (value >= 0) ::close(value);
  }
};

[[noreturn]] void fail_to_read(const std::filesystem::path& path, int error) {
  if (error == ENOENT || error == ENOTDIR) {
    fail(ErrorCode::not_found, kStage, "Check the path.", "there is no file {}", path.string());
  }
  fail(ErrorCode::io, kStage, "Check the file's permissions and the disk.", "could not read {}: {}",
       path.string(), std::strerror(error));
}

FileStamp to_stamp(const struct stat& status) {
  const auto nanoseconds = [](const timespec& time) {
    return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
  };
  return {status.st_dev, status.st_ino, static_cast<uint64_t>(status.st_size),
          nanoseconds(status.st_mtim), nanoseconds(status.st_ctim)};
}

}  // namespace

std::optional<FileStamp> stamp_of(const std::filesystem::path& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 ? std::optional(to_stamp(status)) : std::nullopt;
}

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  // Without O_NONBLOCK a pipe without a writer would wait here for ever.
  const FileDescriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  struct stat status {};
  if (file.value < 0 || ::fstat(file.value, &status) != 0) fail_to_read(path, errno);
  if (!S_ISREG(status.st_mode)) {
    fail(ErrorCode::io, kStage, "Give the path of a file.", "expected a regular file, got {} {}",
         S_ISDIR(status.st_mode) ? "the folder" : "the device or pipe", path.string());
  }
  const auto size = static_cast<size_t>(status.st_size);
  void* data = nullptr;
  if (size > 0) {
    data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.value, 0);
    if (data == MAP_FAILED) fail_to_read(path, errno);
  }
  return std::shared_ptr<const MappedFile>(new MappedFile(path, data, size, to_stamp(status)));
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

}  // namespace ostinato
