#pragma once

#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include "ostinato/base/interrupt.h"

namespace ostinato {

/// A folder that is being filled. Without a commit, after an error and on Ctrl-C (see
/// `install_interrupt_handler`) the files that were put into it are removed, and the folder too if
/// it was made for them. Every failure throws `io` naming the path.
class NewFolder {
 public:
  /// Makes the folder, with its parents. Throws `invalid_argument` for something that is there and
  /// is no empty folder.
  explicit NewFolder(std::filesystem::path path);
  ~NewFolder();
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;

  /// The path of a file that is about to be written into it.
  std::filesystem::path file(std::string_view name);

  /// The last call: all that was written stays.
  void commit();

 private:
  struct Entry {
    std::filesystem::path path;
    std::unique_ptr<InterruptCleanup> cleanup;
  };

  std::filesystem::path path_;
  std::vector<Entry> entries_;  ///< the folder, if it was made here, and then its files
};

}  // namespace ostinato
