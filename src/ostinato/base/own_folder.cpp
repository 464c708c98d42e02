#include "ostinato/base/own_folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "ostinato/base/error.h"

namespace ostinato {

namespace fs = std::filesystem;

void require_own_folder(const fs::path& folder, std::string_view stage) {
  struct stat status {};
  if (::lstat(folder.c_str(), &status) != 0) return;  // not there yet
  if (S_ISDIR(status.st_mode) && status.st_uid == ::geteuid() &&
      (status.st_mode & (S_IWGRP | S_IWOTH)) == 0) {
    return;
  }
  fail(ErrorCode::io, stage,
       "Give a folder that only you can write to (--cache-dir, OSTINATO_CACHE_DIR).",
       "expected a folder of this user's alone, got {}", folder.string());
}

void make_own_folder(const fs::path& folder, std::string_view stage) {
  std::error_code ignored;  // what is missing shows below
  fs::create_directories(folder.parent_path().parent_path(), ignored);
  ::mkdir(folder.parent_path().c_str(), 0700);
  if (::mkdir(folder.c_str(), 0700) == 0 || errno == EEXIST) return;
  fail(ErrorCode::io, stage,
       "Give a folder that you can write to (--cache-dir, OSTINATO_CACHE_DIR).",
       "could not make the folder {}: {}", folder.string(), std::strerror(errno));
}

}  // namespace ostinato
