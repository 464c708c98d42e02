#include "ostinato/base/new_folder.h"

#include <system_error>
#include <utility>

#include "ostinato/base/error.h"

namespace ostinato {

namespace fs = std::filesystem;

NewFolder::NewFolder(fs::path path) : path_(std::move(path)) {
  std::error_code error;
  const fs::file_status status = fs::status(path_, error);
  if (fs::exists(status)) {
    if (fs::is_directory(status) && fs::is_empty(path_, error) && !error) return;
    fail(ErrorCode::invalid_argument, "file/write", "Give a new or an empty folder.",
         "expected {} to be a folder without files", path_.string());
  }
  entries_.push_back({path_, std::make_unique<InterruptCleanup>(path_.string())});
  fs::create_directories(path_, error);
  // For a path that ends in a slash it reports nothing made, and no error.
  if (error || !fs::is_directory(path_)) {
    fail(ErrorCode::io, "file/write", "Check the path and its permissions.",
         "could not make the folder '{}': {}", path_.string(),
         error ? error.message() : "it is not there");
  }
}

NewFolder::~NewFolder() {
  std::error_code ignored;
  for (; !entries_.empty(); entries_.pop_back()) fs::remove(entries_.back().path, ignored);
}

fs::path NewFolder::file(std::string_view name) {
  fs::path path = path_ / name;
  entries_.push_back({path, std::make_unique<InterruptCleanup>(path.string())});
  return path;
}

// In the order in which they were put there, so that an interrupt in the midst of it removes the
// last.
void NewFolder::commit() {
  for (Entry& entry : entries_) entry.cleanup.reset();
  entries_.clear();
}

}  // namespace ostinato
